//! How far off forecasts have been lately.

/// Some three forecasts in the past still have half of their weight.
const PART: f64 = 0.2;

/// The deviation of residuals: an exponentially weighted mean of their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    square: Option<f64>,
}

impl Spread {
    /// Takes how far off a forecast was. What is no number is left out.
    pub fn observe(&mut self, residual: f64) {
        let new = residual * residual;
        if new.is_finite() {
            let old = self.square.unwrap_or(new);
            self.square = Some(PART.mul_add(new - old, old));
        }
    }

    /// The deviation; zero while nothing was observed.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.square.unwrap_or(0.0).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "these results are exact")]

    use super::*;

    #[test]
    fn the_first_residual_counts_whole_and_later_ones_by_and_by() {
        let mut spread = Spread::default();
        assert_eq!(spread.sigma(), 0.0);
        spread.observe(-3.0);
        assert_eq!(spread.sigma(), 3.0);
        spread.observe(7.0);
        assert!((spread.sigma() - 17.0_f64.sqrt()).abs() < 1e-12);
        for _ in 0..200 {
            spread.observe(1.0);
        }
        assert!((spread.sigma() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        let mut spread = Spread::default();
        spread.observe(2.0);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            spread.observe(bad);
            assert_eq!(spread.sigma(), 2.0, "{bad}");
        }
    }
}
