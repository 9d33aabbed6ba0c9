//! Bulk load: one TCP connection of iperf3.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{
    cpu::Meter,
    plane::{BULK, Plane},
};

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bulk {
    pub(crate) bytes: f64,
    pub(crate) bits_per_second: f64,
}

/// Sends for `seconds`.
pub(crate) fn send(plane: &Plane, meter: &Meter, seconds: u32) -> Result<Bulk> {
    let target = plane.targets(BULK).first().copied().context("nobody to send to")?;
    let mut last = String::new();
    // The server may not listen yet, and takes one client at a time.
    for _ in 0..40 {
        let mut command = meter.command(plane.lab.client(), "iperf3");
        command.args(["-J", "-t", &seconds.to_string(), "--connect-timeout", "2000"]);
        command.args(["-c", &target.ip().to_string(), "-p", &target.port().to_string()]);
        let output = command.output().context("iperf3")?;
        let text = String::from_utf8_lossy(&output.stdout);
        match parse(&text) {
            Ok(bulk) => return Ok(bulk),
            Err(error) => last = format!("{error:#}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("{:?}: iperf3: {last}", plane.kind)
}

#[derive(Deserialize)]
struct Output {
    error: Option<String>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct End {
    sum_received: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    bytes: f64,
    bits_per_second: f64,
}

fn parse(text: &str) -> Result<Bulk> {
    let output: Output = serde_json::from_str(text).context("not what iperf3 prints")?;
    if let Some(error) = output.error {
        bail!("{error}");
    }
    let sum = output.end.and_then(|end| end.sum_received).context("no sum")?;
    ensure!(sum.bytes > 0.0, "nothing arrived");
    Ok(Bulk { bytes: sum.bytes, bits_per_second: sum.bits_per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"start": {"version": "iperf 3.12"}, "intervals": [],
        "end": {"streams": [],
            "sum_sent": {"bytes": 900, "seconds": 1, "bits_per_second": 7200, "retransmits": 0},
            "sum_received": {"bytes": 800, "seconds": 1.0, "bits_per_second": 6400.5}}}"#;

    #[test]
    fn what_arrived_counts() {
        assert_eq!(parse(GOOD).unwrap(), Bulk { bytes: 800.0, bits_per_second: 6_400.5 });
    }

    #[test]
    fn failed_runs_are_refused() {
        let wrong = [
            String::new(),
            "iperf3: error".to_owned(),
            "{}".to_owned(),
            r#"{"start": {}, "end": {}, "error": "unable to connect to server"}"#.to_owned(),
            GOOD.replace("sum_received", "sum"),
            GOOD.replace("800", "0"),
        ];
        for text in wrong {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
