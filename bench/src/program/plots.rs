//! How cost grows, as pictures, and the price of each stage as a table.

use std::fmt::Write as _;

use anyhow::Result;
use lb_userspace::plot::{BLUE, GREY, Line, Lines, ORANGE, Stroke};

use super::{
    bed::Extent,
    rows::samples,
    subjects::{flows_names, services_names},
};
use crate::{
    report::{Plot, Series, Table},
    stats::median,
};

/// Nanoseconds over flows, and over services.
pub(super) fn plots(series: &[Series], extent: &Extent) -> Result<Vec<Plot>> {
    let at =
        |name: &str, count: u32| Some((f64::from(count).log10(), median(samples(series, name))?));
    let line = |name: &str, colour, points: Vec<Option<(f64, f64)>>| Line {
        name: name.to_owned(),
        colour,
        stroke: Stroke::Dotted,
        points: points.into_iter().flatten().collect(),
    };
    let of_flows = |which: usize| {
        extent.flows.iter().map(|count| at(&flows_names(*count)[which], *count)).collect()
    };
    let of_services = |which: usize| {
        extent.services.iter().map(|count| at(&services_names(*count)[which], *count)).collect()
    };
    let flows = Lines {
        title: "A packet of one of so many established flows".to_owned(),
        x: "flows, in powers of ten".to_owned(),
        y: "ns a packet".to_owned(),
        lines: vec![line("dnat floor", GREY, of_flows(1)), line("weir", BLUE, of_flows(0))],
    };
    let services = Lines {
        title: "A packet where so many services are".to_owned(),
        x: "services, in powers of ten".to_owned(),
        y: "ns a packet".to_owned(),
        lines: vec![
            line("new flow", ORANGE, of_services(1)),
            line("established", BLUE, of_services(0)),
        ],
    };
    let mut plots = Vec::new();
    for lines in [flows, services] {
        if lines.lines.iter().any(|line| line.points.len() > 1) {
            plots.push(Plot { svg: lines.svg()?, title: lines.title });
        }
    }
    Ok(plots)
}

/// What is added from one to the next.
const LADDER: [(&str, &str); 8] = [
    ("parse", "read and check the headers"),
    ("hash", "and one hash lookup that misses"),
    ("dnat", "instead a hit in the flow table, backend, counters, rewrite, redirect"),
    ("xdp not ours", "Weir: a packet for somebody else"),
    ("xdp established v4", "Weir: a packet of a known flow"),
    ("xdp in turn v4, signals", "and the signals of its requests"),
    ("new2", "floor: the first packet of a flow, two entries"),
    ("xdp new flow", "Weir: the same"),
];

/// The price of each stage.
pub(super) fn ladder(series: &[Series]) -> Table {
    let mut text = String::new();
    for (name, what) in LADDER {
        if let Some(ns) = median(samples(series, name)) {
            // A string takes everything.
            let _unseen = writeln!(text, "{ns:8.1} ns  {name:24}  {what}");
        }
    }
    Table { title: "cost ladder, without the driver".to_owned(), text }
}
