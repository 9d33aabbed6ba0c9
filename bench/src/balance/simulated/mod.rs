//! `weir-bench balance --sim`: every policy on simulated backends.

mod experiments;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use lb_userspace::{
    cli::table::{Align, Table},
    load::{Class, sample::Resource},
};
use serde::Serialize;

use self::experiments::{
    Column, Figures, Measured, class_row, ejection_row, settling_rows, target_rows,
};
use super::{Options, sim::Policy};
use crate::{
    progress::Progress,
    report::{self, Report, Row},
    stats::median,
};

#[derive(Serialize)]
struct PolicyFigures<'r> {
    policy: &'static str,
    /// By scenario, a value a seed.
    scenarios: BTreeMap<&'static str, &'r [Figures]>,
}

/// Runs everything and prints it.
pub(super) fn run(options: &Options) -> Result<()> {
    let rounds = if options.quick { 1 } else { options.rounds };
    let seeds: Vec<u64> = (0..rounds).map(|round| options.seed.wrapping_add(round)).collect();
    let mut report = Report::begin("balance --sim", seeds.len(), options.seed);
    let mut progress = Progress::new("balance", Policy::ALL.len() + 1);
    let mut measured = Measured::default();
    for policy in Policy::ALL {
        progress.step(policy.name());
        measured.policy(policy, &seeds);
    }
    progress.step("settling");
    let settling = settling_rows(if options.quick { 4 } else { 20 }, options.seed);
    drop(progress);
    let mut rows = target_rows(&measured);
    rows.extend(class_row(Policy::Adaptive, Class::Bound(Resource::Io), &seeds));
    rows.extend(class_row(Policy::AdaptiveCpu, Class::Latency, &seeds));
    rows.extend(ejection_row(&seeds));
    rows.extend(settling);
    rows.sort_by_key(|row| row.id);

    // Simulated: the same on every machine.
    report.rows = rows.into_iter().map(Row::into_exact).collect();
    report.tables.push(report::Table {
        title: "99th percentile of latency in ms; E1 in requests/s".to_owned(),
        text: table(&measured).render(false),
    });
    let policies = Policy::ALL.into_iter().map(|policy| PolicyFigures {
        policy: policy.name(),
        scenarios: measured.of(policy).collect(),
    });
    let policies: Vec<_> = policies.collect();
    report.details = serde_json::to_value(policies).context("the figures are no JSON")?;
    report.publish(&options.output)
}

/// Policies by scenarios.
fn table(measured: &Measured) -> Table {
    let mut columns = vec![("policy", Align::Left)];
    columns.extend(Column::ALL.map(|column| (column.name(), Align::Right)));
    let mut table = Table::new(&columns);
    for policy in Policy::ALL {
        let cells = Column::ALL.map(|column| {
            let value = median(&measured.values(policy, column));
            value.map_or_else(String::new, |value| column.text(value))
        });
        table.row([policy.name().into()].into_iter().chain(cells.map(Into::into)));
    }
    table
}

#[cfg(test)]
mod tests;
