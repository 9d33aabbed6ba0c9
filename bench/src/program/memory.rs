//! What a flow, a service and a backend take in the kernel.

use anyhow::{Context as _, Result};
use lb_common::maps::MAPS;

use crate::{report::Row, weir::Weir};

/// Maps with an element for each, and how many elements one has.
const PARTS: [(&str, &[(&str, f64)]); 4] = [
    ("a flow v4, two entries", &[("CONNS4", 2.0)]),
    ("a flow v6, two entries", &[("CONNS6", 2.0)]),
    (
        "a service on one address, table of one page",
        &[("LISTEN", 1.0), ("PAGES", 1.0), ("CURSORS", 1.0), ("SERVICE_STATS", 1.0)],
    ),
    (
        "a backend",
        &[
            ("BACKENDS", 1.0),
            ("BACKEND_LOAD", 1.0),
            ("SIGNALS", 1.0),
            ("BACKEND_STATS", 1.0),
            ("ORIGINS", 1.0),
        ],
    ),
];

/// Bytes as the kernel counts them, divided by what a map can hold. Elements of hash tables that
/// grow are counted by their sizes: an empty table takes less.
pub(super) fn rows(weir: &Weir) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, maps) in PARTS {
        let mut bytes = 0.0;
        for (name, elements) in maps {
            bytes += elements * element_bytes(weir, name)?;
        }
        rows.extend(
            Row::new("memory", format!("{what}: bytes"), &[bytes], None).map(Row::into_exact),
        );
    }
    Ok(rows)
}

fn element_bytes(weir: &Weir, name: &str) -> Result<f64> {
    let info = weir.map_info(name)?;
    let memory = field(&info, "memlock").context("no size of a map")?;
    let capacity = field(&info, "max_entries").context("no capacity of a map")?;
    let spec = MAPS.iter().find(|map| map.name == name);
    // A bucket and the head of an element of `struct htab_elem`.
    let least = spec.map_or(0, |map| map.key_size.next_multiple_of(8) + map.value_size + 64);
    let counted = memory / capacity;
    let preallocates = field(&info, "map_flags").is_some_and(|flags| flags == 0.0);
    #[expect(clippy::cast_precision_loss, reason = "an element is small")]
    Ok(if preallocates { counted } else { least as f64 })
}

/// A number of `/proc/PID/fdinfo`; flags are hexadecimal.
fn field(info: &str, name: &str) -> Option<f64> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    #[expect(clippy::cast_precision_loss, reason = "flags are few bits")]
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|flags| flags as f64),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_fdinfo_are_read() {
        let info =
            "pos:\t0\nmap_type:\t9\nmap_flags:\t0x1\nmax_entries:\t262144\nmemlock:\t48234496\n";
        for (name, expected) in [
            ("memlock", Some(48_234_496.0)),
            ("max_entries", Some(262_144.0)),
            ("map_flags", Some(1.0)),
            ("map", None),
            ("frozen", None),
        ] {
            assert_eq!(field(info, name), expected, "{name}");
        }
        for wrong in ["memlock:\t", "memlock:\tmany", "memlock", "map_flags: 0x"] {
            assert_eq!(field(wrong, "memlock"), None, "{wrong}");
        }
    }
}
