//! What makes a series unusable.

/// Why nothing can be calculated from a series.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SeriesError {
    /// Too few values.
    #[error("too short: {got} of at least {need} values")]
    TooShort {
        /// How many there are.
        got: usize,
        /// How many there must be.
        need: usize,
    },
    /// A value is infinite or not a number.
    #[error("value {} is {value}, not a finite number", index + 1)]
    NotFinite {
        /// Its place, from 0.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A grey model describes a growing sum, so every value has to add to it.
    #[error("value {} is {value}, the grey model needs values above zero", index + 1)]
    NotPositive {
        /// Its place, from 0.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// The values after the first one are nothing beside it.
    #[error("the first value is so large that nothing is left to fit")]
    Degenerate,
    /// The exponential leaves the range of numbers within the series.
    #[error("the development coefficient {a} is too steep for {values} values")]
    TooSteep {
        /// The development coefficient.
        a: f64,
        /// The length of the series.
        values: usize,
    },
}

impl SeriesError {
    /// The same of a series that has so many values before this one.
    #[must_use]
    pub fn after(self, values: usize) -> Self {
        match self {
            Self::NotFinite { index, value } => Self::NotFinite { index: index + values, value },
            Self::NotPositive { index, value } => {
                Self::NotPositive { index: index + values, value }
            }
            Self::TooShort { .. } | Self::Degenerate | Self::TooSteep { .. } => self,
        }
    }
}

/// Finds what no forecast can be made of.
pub(super) fn finite(values: &[f64], need: usize) -> Result<(), SeriesError> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(SeriesError::NotFinite { index, value: values[index] });
    }
    if values.len() < need {
        return Err(SeriesError::TooShort { got: values.len(), need });
    }
    Ok(())
}

/// Finds what no grey forecast can be made of.
pub(super) fn positive(values: &[f64], need: usize) -> Result<(), SeriesError> {
    finite(values, need)?;
    match values.iter().position(|&value| value <= 0.0) {
        Some(index) => Err(SeriesError::NotPositive { index, value: values[index] }),
        None => Ok(()),
    }
}
