//! A little of everything that the bench measures: rows are there and ratios are sane. How fast
//! anything is depends on the machine, and is no matter of a test.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// What every report must have, whatever the machine has: rows by their number. `balance` takes
/// minutes also in its reduced form, because servers and clients wait as they do in earnest.
const ROWS: [(&str, &[&str]); 6] = [
    (
        "program",
        &["A/A", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "TC", "memory"],
    ),
    (
        "path",
        &["A/A", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "v6", "many", "open", "check"],
    ),
    ("publish", &["E11", "E12"]),
    ("balance-sim", &["E1", "E2", "E3", "E4", "E5", "E6"]),
    ("forecast", &["E9"]),
    ("place", &["E10"]),
];

fn bench(arguments: &[&str], out: &Path) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command.args(arguments).arg("--out").arg(out).status().unwrap().success()
}

fn report(out: &Path, name: &str) -> Value {
    let text = fs::read_to_string(out.join(name).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn everything_is_measured_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path();
    let names = ROWS.map(|(name, _)| name).join(",");
    assert!(bench(&["all", "--quick", "--only", &names], out));
    for (name, ids) in ROWS {
        let report = report(out, name);
        let rows = report["rows"].as_array().unwrap();
        for id in ids {
            assert!(rows.iter().any(|row| row["id"] == *id), "{name}: no row {id}");
        }
        for row in rows {
            let median = row["value"]["median"].as_f64().unwrap();
            assert!(median.is_finite() && median >= 0.0, "{name}: {row}");
            // A program that did nothing would be a thousand times as fast. Docker is that much
            // slower where it removes many ports, and a scaler may lose nothing at all.
            let is_price = row["measure"] == "ratio" && ["program", "path"].contains(&name);
            assert!(!is_price || (0.001..1_000.0).contains(&median), "{name}: {row}");
        }
        for machine in ["cpu", "kernel"] {
            assert!(report["run"]["machine"][machine].is_string(), "{name}: no {machine}");
        }
        let page = fs::read_to_string(out.join(name).with_extension("html")).unwrap();
        assert!(page.ends_with("</html>\n"), "{name}");
        let sheet = fs::read_to_string(out.join(name).with_extension("csv")).unwrap();
        assert!(sheet.lines().count() > 1, "{name}");
    }
    let index = fs::read_to_string(out.join("index.html")).unwrap();
    for (name, _) in ROWS {
        assert!(index.contains(&format!("href=\"{name}.html\"")), "{name}");
    }
}
