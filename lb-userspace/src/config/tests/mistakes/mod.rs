//! Every mistake that a configuration can have: the text, and where and what is reported.

mod backends;
mod docker;
mod health;
mod host;
mod hosts;
mod listens;
mod report;
mod scale;
mod services;
mod shapes;

use super::mistakes;

/// A description, a text, and its mistakes: `line:column message`, then the hint after a bar.
type Row<'a> = (&'a str, &'a str, &'a [&'a str]);

#[test]
fn every_mistake_is_reported_where_it_is() {
    let tables = [
        shapes::ROWS,
        services::ROWS,
        listens::ROWS,
        backends::ROWS,
        health::ROWS,
        report::ROWS,
        docker::ROWS,
        scale::ROWS,
        host::ROWS,
        hosts::ROWS,
    ];
    let failed: Vec<String> = tables
        .concat()
        .into_iter()
        .map(|(description, text, expected)| (description, mistakes(text), expected))
        .filter(|(_, found, expected)| found != expected)
        .map(|(description, found, expected)| {
            format!("{description}\n  found    {found:#?}\n  expected {expected:#?}")
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
