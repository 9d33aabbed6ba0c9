//! The answer as a plot: measured, fitted, forecast.

use super::{analysis::Analysis, text::words};
use crate::{
    forecast::real,
    plot::{BLUE, GREEN, GREY, INK, Line, Lines, ORANGE, PlotError, Stroke},
};

/// So much is shown before the window, as a multiple of it.
const BEFORE: usize = 3;

/// The text of an SVG file.
pub(super) fn draw(name: &str, values: &[f64], analysis: &Analysis) -> Result<String, PlotError> {
    let from = values.len().saturating_sub(analysis.window * (BEFORE + 1));
    let measured = (from..values.len()).map(|index| (real(index + 1), values[index])).collect();
    let end = (real(values.len()), values.last().copied().unwrap_or_default());
    let at = |ahead: usize| real(values.len() + ahead);
    let fitted = analysis.fitted.iter().filter_map(|it| Some((real(it.n), it.grey?)));
    let ahead = |value: fn(&super::analysis::Ahead) -> Option<f64>| {
        let points =
            analysis.forecast.iter().filter_map(move |it| Some((at(it.steps), value(it)?)));
        std::iter::once(end).chain(points).collect()
    };
    let line =
        |name: &str, colour, stroke, points| Line { name: name.to_owned(), colour, stroke, points };
    let by = format!("forecast by {}", words(analysis.model));
    let lines = vec![
        line("the last value", GREY, Stroke::Dashed, ahead(|it| Some(it.last))),
        line("Holt", GREEN, Stroke::Dashed, ahead(|it| it.holt)),
        line("the grey model", BLUE, Stroke::Dashed, ahead(|it| it.grey)),
        line("fitted by the grey model", BLUE, Stroke::Solid, fitted.collect()),
        line("measured", INK, Stroke::Dotted, measured),
        line(&by, ORANGE, Stroke::Dotted, ahead(|it| Some(it.forecast))),
    ];
    Lines { title: name.to_owned(), x: "step".to_owned(), y: "value".to_owned(), lines }.svg()
}
