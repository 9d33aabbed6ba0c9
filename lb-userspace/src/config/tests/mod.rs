//! Tests of the configuration: what is right, what is wrong, what is said about it.

mod accepted;
mod example;
mod files;
mod manual;
mod mistakes;
mod properties;
mod report;

use super::{Diagnostic, parse};

const EXAMPLE: &str = include_str!("../../../../examples/weir.yaml");

/// The mistakes of a text, a line each.
fn mistakes(text: &str) -> Vec<String> {
    let line = |found: &Diagnostic| {
        let Diagnostic { line, column, message, hint, .. } = found;
        let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" | {hint}"));
        format!("{line}:{column} {message}{hint}")
    };
    parse("weir.yaml", text)
        .err()
        .map_or_else(Vec::new, |all| all.list().iter().map(line).collect())
}
