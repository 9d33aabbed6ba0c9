//! HTTP load: wrk, and what it says.

use anyhow::{Context as _, Result, ensure};

use super::{
    cpu::Meter,
    plane::{HTTP, Plane},
};

/// What a run of wrk did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
}

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    Kept,
    OneEach,
}

/// Loads a plane's HTTP service for `seconds`.
pub(crate) fn load(
    plane: &Plane,
    meter: &Meter,
    connections: Connections,
    path: &str,
    seconds: u32,
) -> Result<Load> {
    let mut options = vec!["-t2", "-c64"];
    if connections == Connections::OneEach {
        // Without the blank wrk sends a header that nginx takes for another one.
        options.extend(["-H", "Connection: close"]);
    }
    let text = wrk(plane, meter, &options, path, seconds)?;
    parse(&text).with_context(|| format!("{:?}: wrk said:\n{text}", plane.kind))
}

/// The median of what wrk takes for an answer on one connection, in microseconds.
pub(crate) fn median_us(plane: &Plane, meter: &Meter, seconds: u32) -> Result<f64> {
    let text = wrk(plane, meter, &["-t1", "-c1", "--latency"], "/", seconds)?;
    parse(&text).and_then(|_| parse_median(&text)).with_context(|| format!("wrk said:\n{text}"))
}

fn wrk(plane: &Plane, meter: &Meter, options: &[&str], path: &str, seconds: u32) -> Result<String> {
    let target = plane.targets(HTTP).first().copied().context("nothing to load")?;
    let mut command = meter.command(plane.client(), "wrk");
    command.args(options).args([&format!("-d{seconds}s"), "--timeout", "5s"]);
    let output = command.arg(format!("http://{target}{path}")).output().context("wrk")?;
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line "50%" of the distribution: a number with a unit.
fn parse_median(text: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("50%"));
    let value = line.context("no median")?.trim();
    let (number, factor) = match value {
        it if it.ends_with("us") => (it.trim_end_matches("us"), 1.0),
        it if it.ends_with("ms") => (it.trim_end_matches("ms"), 1e3),
        it => (it.trim_end_matches('s'), 1e6),
    };
    Ok(number.parse::<f64>().with_context(|| format!("\"{value}\" is no time"))? * factor)
}

/// Reads what wrk prints. A run with failed requests is no run.
fn parse(text: &str) -> Result<Load> {
    for trouble in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        ensure!(!text.contains(trouble), "some requests failed");
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (requests, _) = requests.context("no number of requests")?;
    let per_second = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let per_second = per_second.context("no rate")?;
    let load = Load { requests: requests.parse()?, per_second: per_second.trim().parse()? };
    ensure!(load.requests > 0.0, "no requests");
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
Running 3s test @ http://198.18.1.1:80/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.43ms    2.01ms  33.11ms   90.13%
    Req/Sec    34.55k     4.12k   45.61k    70.00%
  206912 requests in 3.01s, 32.16MB read
Requests/sec:  68741.36
Transfer/sec:     10.68MB
";

    #[test]
    fn requests_are_read() {
        assert_eq!(parse(GOOD).unwrap(), Load { requests: 206_912.0, per_second: 68_741.36 });
    }

    #[test]
    fn medians_have_units() {
        for (text, us) in [
            ("     50%   43.00us\n     75%   50.00us\n", 43.0),
            ("50% 1.25ms", 1_250.0),
            ("50% 2.00s", 2e6),
        ] {
            let read = parse_median(text).unwrap();
            assert!((read - us).abs() < 1e-6, "{text}: {read}");
        }
        for wrong in ["", GOOD, "50%", "50% fast", "75% 1.00ms"] {
            assert!(parse_median(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn failed_runs_are_refused() {
        let errors = "  Socket errors: connect 0, read 12, write 0, timeout 0\nRequests/sec: ";
        let wrong = [
            String::new(),
            "unable to connect to 198.18.1.1:80 Connection refused\n".to_owned(),
            GOOD.replace("Requests/sec: ", errors),
            GOOD.replace("Transfer", "  Non-2xx or 3xx responses: 7\nTransfer"),
            GOOD.replace("206912", "0"),
            GOOD.replace("206912", "many"),
            GOOD.replace("Requests/sec:", "Requests:"),
            GOOD.replace(" requests in ", " of "),
        ];
        for text in wrong {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
