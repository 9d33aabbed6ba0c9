//! Numbers for people: short, with the unit that leaves a few digits.

const KIB: u64 = 1024;

/// A count: `999`, `1.2k`, `34k`, `1.2M`.
#[must_use]
pub fn count(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// A number of bytes: `999 B`, `1.2 KiB`, `34 MiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    scaled(number, KIB, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// A time: `59s`, `3m07s`, `2h05m`, `12d03h`.
#[must_use]
pub fn seconds(number: u64) -> String {
    let (minutes, hours, days) = (number / 60, number / 3600, number / 86_400);
    match number {
        0..60 => format!("{number}s"),
        60..3600 => format!("{minutes}m{:02}s", number % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        86_400.. => format!("{days}d{:02}h", hours % 24),
    }
}

/// A share of 0 to 1 in percent: `33.3%`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// One digit after the point below ten, none above; never rounded up to more than there is.
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut unit, mut size) = (0, 1_u64);
    while number / size >= step && unit + 1 < units.len() {
        size *= step;
        unit += 1;
    }
    let whole = number / size;
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 || whole >= 10 {
        return format!("{whole}{name}");
    }
    // In 128 bits: a remainder of exbibytes times ten is beyond 64.
    let tenth = u128::from(number % size) * 10 / u128::from(size);
    format!("{whole}.{tenth}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1299, "1.2k"),
            (9999, "9.9k"),
            (10_000, "10k"),
            (999_999, "999k"),
            (1_000_000, "1.0M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn bytes_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3_565_158, "3.3 MiB"),
            (3_565_159, "3.4 MiB"),
            (34 << 30, "34 GiB"),
            (u64::MAX, "15 EiB"),
            ((9 << 60) + (1 << 59), "9.5 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn times_have_two_units() {
        for (number, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (187, "3m07s"),
            (3599, "59m59s"),
            (7500, "2h05m"),
            (86_399, "23h59m"),
            (1_047_600, "12d03h"),
        ] {
            assert_eq!(seconds(number), text);
        }
    }

    #[test]
    fn shares_are_percent() {
        for (share, text) in [(0.0, "0.0%"), (1.0 / 3.0, "33.3%"), (0.999_9, "100.0%")] {
            assert_eq!(percent(share), text);
        }
    }
}
