//! Pictures: how long requests take, and who gets what while a backend is slow.

use lb_userspace::plot::{BLUE, GREEN, GREY, Line, Lines, ORANGE, PURPLE, PlotError, Stroke};
use plotters::style::RGBColor;

use super::{
    Results,
    experiments::Experiment,
    record::{shares, tail},
    site::BACKENDS,
    way::Way,
};
use crate::report::Plot;

/// All pictures of what was measured; of several rounds, the first one's.
pub(super) fn plots(results: &Results) -> Result<Vec<Plot>, PlotError> {
    let lines = [latency(results), shares_over_time(results)].into_iter().flatten();
    lines.map(|lines| Ok(Plot { svg: lines.svg()?, title: lines.title })).collect()
}

/// Ways worth a line, with their colours; ours cover the others.
const COLOURS: [(Way, RGBColor); 5] = [
    (Way::P2c, GREY),
    (Way::LeastConnections, ORANGE),
    (Way::WeightedLeastConnections, PURPLE),
    (Way::AdaptiveBlind, GREEN),
    (Way::Adaptive, BLUE),
];

fn latency(results: &Results) -> Option<Lines> {
    let from = Experiment::E2.setting().counts_from();
    let lines: Vec<Line> = COLOURS
        .into_iter()
        .filter_map(|(way, colour)| {
            let points = tail(&results.first(Experiment::E2, way)?.records, from);
            Some(Line { name: way.name().into(), colour, stroke: Stroke::Solid, points })
        })
        .collect();
    (!lines.is_empty()).then(|| Lines {
        title: "E2: six unequal backends at 70 % of what they can do".into(),
        x: "requests that take no longer, %".into(),
        y: "ms".into(),
        lines,
    })
}

fn shares_over_time(results: &Results) -> Option<Lines> {
    let run = results.first(Experiment::E3, Way::Adaptive)?;
    let colours = [ORANGE, BLUE, GREEN, PURPLE, GREY, RGBColor(86, 180, 233)];
    let lines = shares(&run.records, BACKENDS).into_iter().zip(colours).enumerate();
    let lines = lines.map(|(number, (points, colour))| Line {
        name: format!("backend {}", number + 1),
        colour,
        stroke: Stroke::Solid,
        points,
    });
    Some(Lines {
        title: "E3, adaptive: backend 1 does 30 % of its work from second 20 to 50".into(),
        x: "s".into(),
        y: "% of the answers".into(),
        lines: lines.collect(),
    })
}
