//! What the demo showed, in about ten lines, and whether it is what it should have shown.

use std::{fmt, net::SocketAddr};

use super::{
    tally::{LoadReport, percent},
    view::ms,
};

/// A backend and its part in the sum of all speeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name in `X-Backend`.
    pub name: String,
    /// Its speed beside the fastest one's 1.
    pub speed: f64,
}

/// The end of a demo; it is displayed as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What the client dialled.
    pub vips: Vec<SocketAddr>,
    /// The backends.
    pub servers: Vec<Server>,
    /// What the client saw.
    pub report: LoadReport,
}

impl Summary {
    /// Everything that is wrong; nothing if the demo showed what it should.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let report = &self.report;
        let mut complaints = Vec::new();
        if report.answered() == 0 {
            complaints.push("no request was answered".to_owned());
        }
        if report.failures() > 0 {
            complaints.push(format!("{} requests failed", report.failures()));
        }
        let elsewhere = report.answered().saturating_sub(report.from_vip);
        if elsewhere > 0 {
            complaints.push(format!("{elsewhere} replies did not come from the VIP"));
        }
        for server in &self.servers {
            if self.answered_by(server) == 0 {
                complaints.push(format!("backend {} answered nothing", server.name));
            }
        }
        let known = |name: &String| self.servers.iter().any(|server| server.name == *name);
        for stranger in report.per_backend.keys().filter(|name| !known(name)) {
            complaints.push(format!("{stranger:?} answered and is no backend"));
        }
        for (count, family) in [(report.ipv4, "IPv4"), (report.ipv6, "IPv6")] {
            let dialled = self.vips.iter().any(|vip| vip.is_ipv4() == (family == "IPv4"));
            if dialled && count == 0 {
                complaints.push(format!("nothing was answered over {family}"));
            }
        }
        complaints
    }

    fn answered_by(&self, server: &Server) -> u64 {
        self.report.per_backend.get(&server.name).copied().unwrap_or(0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        let vips: Vec<String> = self.vips.iter().map(ToString::to_string).collect();
        let (answered, seconds) = (report.answered(), report.elapsed.as_secs_f64());
        writeln!(f, "{answered} requests answered in {seconds:.1} s at {}", vips.join(" and "))?;
        write!(f, "  {:.0} req/s, {} failed", report.rate(), report.failures())?;
        for (n, (failure, count)) in report.failed.iter().enumerate() {
            write!(f, "{}{failure} {count}", if n == 0 { ": " } else { ", " })?;
        }
        let [p50, p90, p99, max] = [report.p50, report.p90, report.p99, report.max].map(ms);
        writeln!(f, "\n  latency p50 {p50}, p90 {p90}, p99 {p99}, max {max}")?;
        writeln!(f, "  IPv4 {}, IPv6 {}", report.ipv4, report.ipv6)?;
        let speeds: f64 = self.servers.iter().map(|server| server.speed).sum();
        let width = self.servers.iter().map(|server| server.name.chars().count()).max();
        for server in &self.servers {
            let count = self.answered_by(server);
            let share = percent(count, answered);
            let fair = if speeds > 0.0 { server.speed * 100.0 / speeds } else { 0.0 };
            let width = width.unwrap_or(0);
            writeln!(
                f,
                "  {:<width$}  {count:>8} requests, {share:>5.1} % (its part of the speed: {fair:.1} %)",
                server.name
            )?;
        }
        writeln!(f, "  replies from the VIP: {} of {answered}", report.from_vip)?;
        let complaints = self.complaints();
        if complaints.is_empty() {
            write!(f, "ok: every reply came from the VIP, every backend served, nothing failed")
        } else {
            write!(f, "NOT ok: {}", complaints.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::tally::Failure;

    fn summary() -> Summary {
        let server = |name: &str, speed| Server { name: name.to_owned(), speed };
        Summary {
            vips: vec!["198.18.1.1:80".parse().unwrap(), "[fd00:18:1::1]:80".parse().unwrap()],
            servers: vec![server("fast", 1.0), server("middle", 0.5), server("slow", 0.25)],
            report: LoadReport {
                elapsed: Duration::from_secs(10),
                requests: 7000,
                failed: [].into(),
                per_backend: [("fast", 4000), ("middle", 2000), ("slow", 1000)]
                    .map(|(name, count)| (name.to_owned(), count))
                    .into(),
                ipv4: 3500,
                ipv6: 3500,
                from_vip: 7000,
                p50: Duration::from_micros(2300),
                p90: Duration::from_millis(8),
                p99: Duration::from_millis(14),
                max: Duration::from_millis(31),
            },
        }
    }

    #[test]
    fn all_is_well() {
        assert_eq!(summary().complaints(), Vec::<String>::new());
        insta::assert_snapshot!(summary().to_string());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let mut bad = summary();
        bad.report.failed = [(Failure::Timeout, 3), (Failure::Closed, 1)].into();
        bad.report.from_vip = 6990;
        bad.report.per_backend = [("fast".to_owned(), 7000), ("who".to_owned(), 1)].into();
        bad.report.ipv6 = 0;
        bad.report.ipv4 = 7000;
        insta::assert_snapshot!(bad.to_string());
        assert_eq!(bad.complaints().len(), 6);
    }

    #[test]
    fn silence_is_no_success() {
        let silent = Summary { report: LoadReport::default(), ..summary() };
        assert!(silent.complaints().contains(&"no request was answered".to_owned()));
    }

    #[test]
    fn a_family_that_nobody_dialled_is_not_missed() {
        let mut v4 = summary();
        v4.vips.pop();
        (v4.report.ipv4, v4.report.ipv6) = (7000, 0);
        assert_eq!(v4.complaints(), Vec::<String>::new());
    }
}
