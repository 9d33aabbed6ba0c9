//! Short forecasts of an offered load: the grey model GM(1,1), and what has to be beaten by it.
//!
//! A grey model describes the running sum of a short, positive series by one exponential; it needs
//! ten values and no constants to tune. It is right on exponential ramps and wrong on noise, so it
//! is only believed where it says itself that it fits (`gate`). See `docs/forecast.md`.

pub mod accuracy;
mod error;
pub mod gate;
pub mod grey;
pub mod holt;
pub mod rolling;
mod spread;

#[cfg(test)]
mod vectors;

pub use self::{
    accuracy::{Accuracy, Grade},
    error::SeriesError,
    gate::{ClassRatios, Unfit},
    grey::{Form, Grey, Reach},
    holt::{Holt, Smoothing},
    rolling::{Method, Model, Outlook, Rolling},
    spread::Spread,
};

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "series have far fewer than 2^52 values")]
pub(crate) const fn real(count: usize) -> f64 {
    count as f64
}

/// The mean; not a number if there is nothing.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / real(values.len())
}

/// The largest absolute value: zero if there are none.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}
