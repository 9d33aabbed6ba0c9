//! How much of what: the dimensions of a machine, and amounts in the units that Kubernetes users
//! write.
//!
//! An amount is a whole number of the smallest unit, as in Kubernetes: fits are exact, and so is
//! the integer division of its scores. Parts of a unit are rounded up, as Kubernetes does.

use thiserror::Error;

/// The number of dimensions.
pub const DIMENSIONS: usize = 4;

/// An amount of each dimension, by [`Dimension::index`].
pub type Amounts = [u64; DIMENSIONS];

/// The largest amount: whole numbers up to it are exact as floating point, too.
pub const AMOUNT_MAX: u64 = 1 << 53;

/// What a machine has and a workload needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// Thousandths of a core.
    Cpu,
    /// Bytes.
    Memory,
    /// Bits a second.
    Network,
    /// Operations a second.
    Io,
}

impl Dimension {
    /// All of them. Processor and memory come first: every machine has these two.
    pub const ALL: [Self; DIMENSIONS] = [Self::Cpu, Self::Memory, Self::Network, Self::Io];

    /// Its place in [`Amounts`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Cpu => 0,
            Self::Memory => 1,
            Self::Network => 2,
            Self::Io => 3,
        }
    }

    /// Its name, as in the heads of files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
            Self::Io => "io",
        }
    }

    /// Smallest units in what a bare number counts.
    const fn scale(self) -> f64 {
        match self {
            Self::Cpu => 1000.0,
            Self::Memory | Self::Network | Self::Io => 1.0,
        }
    }

    /// How it is written.
    const fn example(self) -> &'static str {
        match self {
            Self::Cpu => "cores such as 500m or 2",
            Self::Memory => "bytes such as 512Mi or 2G",
            Self::Network => "bits a second such as 100M",
            Self::Io => "operations a second such as 500 or 2k",
        }
    }

    /// Reads what a user wrote: a number and a suffix of Kubernetes.
    pub fn parse(self, text: &str) -> Result<u64, AmountError> {
        let text = text.trim();
        let unreadable =
            || AmountError::Unreadable { value: text.to_owned(), example: self.example() };
        let (number, factor) = split_suffix(text);
        // Rust also reads words such as "inf" and "nan": they deserve their own answer.
        let number: f64 = number.parse().map_err(|_| unreadable())?;
        self.amount(number * factor)
    }

    /// Turns a number in cores, bytes, bits a second or operations a second into an amount.
    pub fn amount(self, number: f64) -> Result<u64, AmountError> {
        if !number.is_finite() {
            return Err(AmountError::NotFinite { value: number.to_string() });
        }
        if number < 0.0 {
            return Err(AmountError::Negative { value: number.to_string() });
        }
        // The quotient of two decimal fractions may lie a hair above the whole number it means.
        let scaled = number * self.scale();
        let whole = if (scaled - scaled.round()).abs() < 1e-6 { scaled.round() } else { scaled };
        if whole > real(AMOUNT_MAX) {
            return Err(AmountError::TooLarge { value: number.to_string() });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between zero and 2^53"
        )]
        Ok(whole.ceil() as u64)
    }

    /// An amount as a user would write it.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        let step = |suffixes: [(&str, u64); 4]| {
            let fits = |&&(_, size): &&(&str, u64)| amount >= size && amount.is_multiple_of(size);
            match suffixes.iter().find(fits) {
                Some((suffix, size)) => format!("{}{suffix}", amount / size),
                None => amount.to_string(),
            }
        };
        match self {
            Self::Cpu if amount.is_multiple_of(1000) => (amount / 1000).to_string(),
            Self::Cpu => format!("{amount}m"),
            Self::Memory => step([("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1024)]),
            Self::Network | Self::Io => step([
                ("T", 1_000_000_000_000),
                ("G", 1_000_000_000),
                ("M", 1_000_000),
                ("k", 1000),
            ]),
        }
    }
}

/// Why something is no amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// Not a number with a suffix.
    #[error("\"{value}\" is not a quantity: write {example}")]
    Unreadable {
        /// What was written.
        value: String,
        /// How to write it.
        example: &'static str,
    },
    /// Not a number, or infinite.
    #[error("{value} is not a finite number")]
    NotFinite {
        /// The number.
        value: String,
    },
    /// Below zero.
    #[error("{value} is negative")]
    Negative {
        /// The number.
        value: String,
    },
    /// Above [`AMOUNT_MAX`] units.
    #[error("{value} is more than can be counted exactly")]
    TooLarge {
        /// The number.
        value: String,
    },
}

/// Splits a quantity of Kubernetes into its number and what its suffix multiplies it by. An
/// exponent, as in `1e3`, belongs to the number.
fn split_suffix(text: &str) -> (&str, f64) {
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("u", 1e-6),
        ("n", 1e-9),
    ];
    let after_digit = |number: &&str| number.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    let split = |(suffix, factor)| {
        text.strip_suffix(suffix).filter(after_digit).map(|number| (number, factor))
    };
    SUFFIXES.into_iter().find_map(split).unwrap_or((text, 1.0))
}

/// A whole number as floating point.
#[expect(clippy::cast_precision_loss, reason = "amounts and counts are at most 2^53")]
pub(super) const fn real(number: u64) -> f64 {
    number as f64
}

/// A count as floating point.
pub(super) const fn count(number: usize) -> f64 {
    real(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        use Dimension::{Cpu, Io, Memory, Network};
        for (dimension, text, amount) in [
            (Cpu, "500m", 500),
            (Cpu, "2", 2000),
            (Cpu, "0.1", 100),
            (Cpu, "0.5m", 1),
            (Cpu, "100u", 1),
            (Cpu, "0", 0),
            (Cpu, " 1.5 ", 1500),
            (Cpu, "1e-1", 100),
            (Memory, "1", 1),
            (Memory, "2Gi", 2 << 30),
            (Memory, "1.5Ki", 1536),
            (Memory, "512Mi", 512 << 20),
            (Memory, "1G", 1_000_000_000),
            (Memory, "1e3", 1000),
            (Memory, "100m", 1),
            (Memory, "8Pi", 1 << 53),
            (Network, "10M", 10_000_000),
            (Io, "2k", 2000),
        ] {
            assert_eq!(dimension.parse(text), Ok(amount), "{dimension:?} {text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_named() {
        use Dimension::{Cpu, Memory};
        for (dimension, text, part) in [
            (Cpu, "", "\"\" is not a quantity: write cores such as 500m or 2"),
            (Cpu, "two", "\"two\" is not a quantity"),
            (Cpu, "m", "\"m\" is not a quantity"),
            (Cpu, "5 m", "\"5 m\" is not a quantity"),
            (Cpu, "5mm", "\"5mm\" is not a quantity"),
            (Cpu, "1,5", "\"1,5\" is not a quantity"),
            (Memory, "2GB", "\"2GB\" is not a quantity: write bytes such as 512Mi or 2G"),
            (Memory, "2gi", "\"2gi\" is not a quantity"),
            (Memory, "nan", "NaN is not a finite number"),
            (Memory, "-inf", "-inf is not a finite number"),
            (Memory, "1e999", "inf is not a finite number"),
            (Cpu, "-1", "-1 is negative"),
            (Cpu, "-500m", "-0.5 is negative"),
            (Memory, "9Pi", "is more than can be counted exactly"),
        ] {
            let error = dimension.parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(Cpu.amount(f64::NAN), Err(AmountError::NotFinite { value: "NaN".to_owned() }));
        assert_eq!(Cpu.amount(-0.25), Err(AmountError::Negative { value: "-0.25".to_owned() }));
    }

    #[test]
    fn amounts_are_shown_as_they_are_written() {
        use Dimension::{Cpu, Io, Memory};
        for (dimension, amount, text) in [
            (Cpu, 0, "0"),
            (Cpu, 250, "250m"),
            (Cpu, 2000, "2"),
            (Memory, 3 << 30, "3Gi"),
            (Memory, 1025, "1025"),
            (Io, 2000, "2k"),
        ] {
            assert_eq!(dimension.show(amount), text);
            assert_eq!(dimension.parse(text), Ok(amount));
        }
    }
}
