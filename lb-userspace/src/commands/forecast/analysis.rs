//! What the models say of a series: the answer of `weir forecast` as a value.

use serde::Serialize;

use crate::{
    cli::ForecastModel,
    forecast::{
        Accuracy, ClassRatios, Form, Grey, Holt, Reach, SeriesError, Smoothing, gate, real,
    },
};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// So many of the last values are fitted.
    pub(super) window: usize,
    /// So many steps are forecast.
    pub(super) horizon: usize,
    /// By this model.
    pub(super) model: ForecastModel,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Analysis {
    /// How many values there are.
    pub(super) values: usize,
    /// How many of them are fitted.
    pub(super) window: usize,
    /// What forecasts.
    pub(super) model: Model,
    /// Why this one.
    pub(super) why: String,
    /// The class ratios and what they have to be.
    pub(super) gate: Option<Gate>,
    /// The fitted grey model.
    pub(super) grey: Option<Fit>,
    /// The values of the window.
    pub(super) fitted: Vec<Known>,
    /// The values after it.
    pub(super) forecast: Vec<Ahead>,
    /// How the models did on the whole series, where it is long enough to tell.
    pub(super) past: Option<Past>,
}

/// What forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Model {
    Grey,
    GreyClassic,
    Holt,
    Last,
}

/// The class-ratio test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Gate {
    /// Whether all ratios are between `low` and `high`.
    pub(super) pass: bool,
    /// The lower bound.
    pub(super) low: f64,
    /// The upper bound.
    pub(super) high: f64,
    /// One less than the window has values.
    pub(super) ratios: Vec<f64>,
}

/// The grey model and how well it fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Fit {
    pub(super) form: Form,
    /// The development coefficient.
    pub(super) a: f64,
    /// The grey input.
    pub(super) b: f64,
    /// By what a value is multiplied from one to the next.
    pub(super) growth: f64,
    /// What was added to the values so that the class ratios pass.
    pub(super) shift: f64,
    /// Deviation of the residuals by that of the values.
    pub(super) c: Option<f64>,
    /// Share of small residuals.
    pub(super) p: f64,
    /// Mean relative error.
    pub(super) mape_percent: f64,
    /// From 1 to 4, the worse of those by C and by P.
    pub(super) grade: u8,
    /// How far ahead the model may be believed.
    pub(super) reach: Reach,
}

/// A value of the window, and what was made of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Known {
    /// Its place in the series, from 1.
    pub(super) n: usize,
    /// What it is.
    pub(super) measured: f64,
    /// The grey model's.
    pub(super) grey: Option<f64>,
    /// Holt's, made before the value was known.
    pub(super) holt: Option<f64>,
    /// The value before it.
    pub(super) last: Option<f64>,
}

/// A value to come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ahead {
    /// Steps after the last value.
    pub(super) steps: usize,
    /// The chosen model's.
    pub(super) forecast: f64,
    /// The grey model's.
    pub(super) grey: Option<f64>,
    /// Holt's.
    pub(super) holt: Option<f64>,
    /// The last value.
    pub(super) last: f64,
}

/// Mean relative errors over all windows of the series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Past {
    /// So many windows.
    pub(super) windows: usize,
    /// In so many of them the grey model was believed.
    pub(super) believed: usize,
    /// One step ahead.
    pub(super) near: Errors,
    /// At the horizon.
    pub(super) far: Errors,
}

/// Mean relative errors in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Errors {
    /// Of `auto`: the grey model where it is believed, else the last value.
    pub(super) auto: f64,
    /// Of Holt's method.
    pub(super) holt: f64,
    /// Of the last value.
    pub(super) last: f64,
}

/// Answers. The values are finite, and there is at least one.
pub(super) fn analyse(values: &[f64], question: Question) -> Result<Analysis, SeriesError> {
    let window = &values[values.len().saturating_sub(question.window)..];
    let before = values.len() - window.len();
    let ratios = ClassRatios::of(window).ok();
    let grey = fit(window, ratios.as_ref(), question.model);
    let holt = Holt::fit(window, Smoothing::LOAD);
    let (model, why) = choose(values, window, question.model, &grey, &holt)?;
    let last = window.last().copied().unwrap_or_default();
    let grey = grey.ok();
    let holt = holt.ok();
    let fitted_grey = grey.map(|grey| grey.fitted());
    let known = window.iter().enumerate().map(|(index, &measured)| Known {
        n: before + index + 1,
        measured,
        grey: fitted_grey.as_ref().map(|fitted| fitted[index]),
        // Level and trend begin with two values: nothing was foretold of them.
        holt: holt.as_ref().filter(|_| index >= 2).map(|holt| holt.fitted()[index]),
        last: index.checked_sub(1).map(|index| window[index]),
    });
    let forecast = (1..=question.horizon).map(|ahead| {
        let by_grey = grey.map(|grey| grey.ahead(ahead));
        let by_holt = holt.as_ref().map(|holt| holt.ahead(ahead));
        let chosen = match model {
            // By itself it is believed as far as the scaler does.
            Model::Grey if question.model == ForecastModel::Auto => {
                gate::gated(window).ok().map(|(grey, _)| grey.ahead(ahead))
            }
            Model::Grey | Model::GreyClassic => by_grey,
            Model::Holt => by_holt,
            Model::Last => None,
        };
        Ahead { steps: ahead, forecast: chosen.unwrap_or(last), grey: by_grey, holt: by_holt, last }
    });
    Ok(Analysis {
        values: values.len(),
        window: window.len(),
        model,
        why,
        fitted: known.collect(),
        forecast: forecast.collect(),
        grey: grey.and_then(|grey| describe(&grey, window)),
        gate: ratios.map(|it| Gate {
            pass: it.pass(),
            low: it.low,
            high: it.high,
            ratios: it.ratios,
        }),
        past: past(values, question),
    })
}

/// The grey model to show. Where it was asked for, a window that fails the gate is shifted first.
fn fit(
    window: &[f64],
    ratios: Option<&ClassRatios>,
    model: ForecastModel,
) -> Result<Grey, SeriesError> {
    let form = match model {
        ForecastModel::GreyClassic => Form::Classic,
        ForecastModel::Auto | ForecastModel::Grey | ForecastModel::Holt | ForecastModel::Last => {
            Form::Unbiased
        }
    };
    let asked = matches!(model, ForecastModel::Grey | ForecastModel::GreyClassic);
    if asked && window.len() >= 2 && !ratios.is_some_and(ClassRatios::pass) {
        return Grey::fit_shifted(window, gate::shift(window)?, form);
    }
    Grey::fit(window, form)
}

/// The model that forecasts, and why.
fn choose(
    values: &[f64],
    window: &[f64],
    asked: ForecastModel,
    grey: &Result<Grey, SeriesError>,
    holt: &Result<Holt, SeriesError>,
) -> Result<(Model, String), SeriesError> {
    match asked {
        ForecastModel::Auto => Ok(match gate::gated(window) {
            Ok((grey, _)) => (Model::Grey, passes(&grey)),
            Err(why) => (Model::Last, why.after(values.len() - window.len()).to_string()),
        }),
        ForecastModel::Grey | ForecastModel::GreyClassic => {
            let shift = (*grey)?.shift();
            let model =
                if asked == ForecastModel::GreyClassic { Model::GreyClassic } else { Model::Grey };
            let why = if shift > 0.0 {
                "asked for; a constant is added first, or the gate would be closed".to_owned()
            } else {
                "asked for".to_owned()
            };
            Ok((model, why))
        }
        ForecastModel::Holt => match holt {
            Ok(_) => Ok((Model::Holt, "asked for".to_owned())),
            Err(error) => Err(*error),
        },
        ForecastModel::Last => Ok((Model::Last, "asked for".to_owned())),
    }
}

fn passes(grey: &Grey) -> String {
    let kept = grey.damping() * 100.0;
    let damped = if kept < 99.95 {
        format!("; as it fits, a step keeps {kept:.1} % of the growth of the one before")
    } else {
        String::new()
    };
    format!("the window passes the gate{damped}")
}

fn describe(grey: &Grey, window: &[f64]) -> Option<Fit> {
    let accuracy = Accuracy::of(window, &grey.fitted()).ok()?;
    Some(Fit {
        form: grey.form(),
        a: grey.a(),
        b: grey.b(),
        growth: grey.growth(),
        shift: grey.shift(),
        // JSON has no infinity.
        c: Some(accuracy.c).filter(|c| c.is_finite()),
        p: accuracy.p,
        mape_percent: accuracy.mape * 100.0,
        grade: accuracy.grade().number(),
        reach: grey.reach(),
    })
}

/// Forecasts of what is known already, from every window that is followed by a whole horizon.
fn past(values: &[f64], question: Question) -> Option<Past> {
    let Question { window, horizon, .. } = question;
    let (mut windows, mut believed) = (0, 0);
    let (mut near, mut far) = (Errors::default(), Errors::default());
    for (index, known) in values.windows(window).enumerate() {
        let Some(next) = values.get(index + window..index + window + horizon) else { break };
        let (Some(&first), Some(&end)) = (next.first(), next.last()) else { break };
        // A relative error of nothing is none.
        if first == 0.0 || end == 0.0 {
            continue;
        }
        let (grey, holt) = (gate::gated(known), Holt::fit(known, Smoothing::LOAD));
        let last = known.last().copied().unwrap_or_default();
        windows += 1;
        believed += usize::from(grey.is_ok());
        for (errors, truth, steps) in [(&mut near, first, 1), (&mut far, end, horizon)] {
            let auto = grey.map_or(last, |(grey, _)| grey.ahead(steps));
            let holt = holt.as_ref().map_or(last, |holt| holt.ahead(steps));
            errors.auto += (auto / truth - 1.0).abs();
            errors.holt += (holt / truth - 1.0).abs();
            errors.last += (last / truth - 1.0).abs();
        }
    }
    let part = 100.0 / real(windows);
    let share =
        |it: Errors| Errors { auto: it.auto * part, holt: it.holt * part, last: it.last * part };
    (windows > 0).then(|| Past { windows, believed, near: share(near), far: share(far) })
}
