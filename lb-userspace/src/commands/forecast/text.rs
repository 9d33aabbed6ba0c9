//! The answer for people.

use super::analysis::{Analysis, Errors, Fit, Gate, Model, Past};
use crate::{
    cli::table::{Align, Cell, Table, Tone, facts},
    forecast::{Form, Reach},
};

/// Everything, at most a hundred columns wide.
pub(super) fn render(name: &str, analysis: &Analysis, colour: bool) -> String {
    let mut text = format!("{name}: {}, {}\n\n", count(analysis), window(analysis));
    let mut lines = Vec::new();
    match &analysis.grey {
        Some(fit) => {
            lines.push(("grey model", coefficients(fit)));
            lines.push(("fit", grade(fit)));
            lines.push(("reach", reach(fit)));
        }
        None => lines.push(("grey model", "none: it needs four values".to_owned())),
    }
    match &analysis.gate {
        Some(gate) => lines.push(("class ratios", ratios(gate))),
        None => lines.push(("class ratios", "none: they need values above zero".to_owned())),
    }
    lines.push(("forecast", format!("by {}", words(analysis.model))));
    lines.push(("why", analysis.why.clone()));
    text.push_str(&facts(&lines));
    text.push('\n');
    text.push_str(&table(analysis).render(colour));
    if let Some(past) = &analysis.past {
        text.push('\n');
        text.push_str(&history(past, analysis.forecast.len()));
    }
    text
}

/// A model in a sentence.
pub(super) fn words(model: Model) -> &'static str {
    match model {
        Model::Grey => "the grey model",
        Model::GreyClassic => "the classic grey model",
        Model::Holt => "Holt",
        Model::Last => "the last value",
    }
}

fn count(analysis: &Analysis) -> String {
    let plural = if analysis.values == 1 { "" } else { "s" };
    format!("{} value{plural}", analysis.values)
}

fn window(analysis: &Analysis) -> String {
    if analysis.window == analysis.values {
        "all in the window".to_owned()
    } else {
        format!("the last {} in the window", analysis.window)
    }
}

fn coefficients(fit: &Fit) -> String {
    let Fit { form, a, b, growth, shift, .. } = fit;
    let shift =
        if *shift > 0.0 { format!(", of values + {}", number(*shift)) } else { String::new() };
    let percent = (growth - 1.0) * 100.0;
    let form = match form {
        Form::Classic => "classic",
        Form::Unbiased => "unbiased",
    };
    let b = if b.abs() < 1e6 { format!("{b:.6}") } else { number(*b) };
    format!("{form}, a = {a:.6}, b = {b}, {percent:+.2} % a step{shift}")
}

fn grade(fit: &Fit) -> String {
    let c = fit.c.map_or_else(|| "infinite".to_owned(), |c| format!("{c:.4}"));
    let grade = match fit.grade {
        1 => "good",
        2 => "qualified",
        3 => "barely qualified",
        _ => "bad",
    };
    let Fit { p, mape_percent, .. } = fit;
    let error =
        if *mape_percent < 1e4 { format!("{mape_percent:.3}") } else { number(*mape_percent) };
    format!("grade {number}, {grade}: C {c}, P {p:.3}, mean error {error} %", number = fit.grade)
}

fn reach(fit: &Fit) -> String {
    let reach = match fit.reach {
        Reach::Long => "for medium and long horizons",
        Reach::Short => "for short horizons",
        Reach::Cautious => "for short horizons, with caution",
        Reach::Corrected => "with corrected residuals only",
        Reach::None => "for no horizon",
    };
    format!("{reach}: -a is {:.3}", -fit.a)
}

fn ratios(gate: &Gate) -> String {
    let (low, high) = gate
        .ratios
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(low, high), &ratio| (low.min(ratio), high.max(ratio)));
    let verdict = if gate.pass { "pass" } else { "FAIL" };
    let [low, high, least, most] = [low, high, gate.low, gate.high].map(number);
    format!("{verdict}: {low} .. {high}, allowed {least} .. {most}")
}

fn table(analysis: &Analysis) -> Table {
    let mut table = Table::new(&[
        ("N", Align::Right),
        ("MEASURED", Align::Right),
        ("RATIO", Align::Right),
        ("FORECAST", Align::Right),
        ("GREY", Align::Right),
        ("HOLT", Align::Right),
        ("LAST", Align::Right),
    ]);
    let value = |value: Option<f64>| value.map_or_else(String::new, number);
    for (index, known) in analysis.fitted.iter().enumerate() {
        let gate = analysis.gate.as_ref();
        let ratio = gate.zip(index.checked_sub(1)).map(|(gate, index)| (gate, gate.ratios[index]));
        let ratio = ratio.map_or_else(Cell::default, |(gate, ratio)| {
            let inside = ratio > gate.low && ratio < gate.high;
            let tone = if inside { Tone::Plain } else { Tone::Bad };
            Cell::toned(&number(ratio), tone)
        });
        table.row([
            known.n.to_string().into(),
            number(known.measured).into(),
            ratio,
            "".into(),
            value(known.grey).into(),
            value(known.holt).into(),
            value(known.last).into(),
        ]);
    }
    for ahead in &analysis.forecast {
        table.row([
            format!("+{}", ahead.steps).into(),
            "".into(),
            "".into(),
            Cell::toned(&number(ahead.forecast), Tone::Good),
            value(ahead.grey).into(),
            value(ahead.holt).into(),
            number(ahead.last).into(),
        ]);
    }
    table
}

fn history(past: &Past, horizon: usize) -> String {
    let Past { windows, believed, near, far } = past;
    let line = |steps: usize, errors: &Errors| {
        let Errors { auto, holt, last } = errors;
        let plural = if steps == 1 { "" } else { "s" };
        format!(
            "{steps} step{plural} ahead: auto {auto:.2} %, Holt {holt:.2} %, last {last:.2} %\n"
        )
    };
    let mut text = format!(
        "mean errors over all {windows} windows of the series; {believed} of them pass the gate\n"
    );
    text.push_str(&line(1, near));
    if horizon > 1 {
        text.push_str(&line(horizon, far));
    }
    text
}

/// A value with about six digits.
fn number(value: f64) -> String {
    match value.abs() {
        1e9.. => format!("{value:.4e}"),
        1e5.. => format!("{value:.0}"),
        1e3.. => format!("{value:.2}"),
        1e-3.. | 0.0 => format!("{value:.4}"),
        _ => format!("{value:.4e}"),
    }
}
