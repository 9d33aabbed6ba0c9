//! Health checks.

use std::time::Duration;

use super::{
    super::{
        address,
        error::{Mistake, Place, Report},
        field::At,
        raw::RawHealth,
        scalar,
    },
    backends::Backends,
    listens::Listens,
};
use crate::model::{AllDown, HealthCheck, Probe, Protocol};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(2);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const RISE_DEFAULT: u32 = 2;
const FALL_DEFAULT: u32 = 3;
const ROW_MAX: u32 = 100;

pub(in crate::config) fn health(
    At { value: raw, place }: &At<RawHealth>,
    listens: &Listens,
    backends: &Backends,
    report: &mut Report,
) -> Option<HealthCheck> {
    let probe = probe(raw, *place, report);
    let port = raw.port.parse(report, address::port_number).map(|port| port.value);
    if raw.port.is_absent()
        && let Some(why) = why_a_port(listens, backends)
    {
        let mistake = Mistake::new(format!("this health check needs a `port`: {why}"));
        report.add(*place, mistake.hint("name one where every backend answers over TCP"));
    }
    let interval = raw.interval.parse_or(report, scalar::duration, INTERVAL_DEFAULT);
    let longest = interval.unwrap_or(Duration::MAX);
    let timeout = timeout(raw, longest, report).unwrap_or(TIMEOUT_DEFAULT);
    let row = scalar::integer(1, ROW_MAX);
    let rise = raw.rise.parse_or(report, &row, RISE_DEFAULT).unwrap_or(RISE_DEFAULT);
    let fall = raw.fall.parse_or(report, &row, FALL_DEFAULT).unwrap_or(FALL_DEFAULT);
    let interval = interval.unwrap_or(INTERVAL_DEFAULT);
    let all_down = raw.all_down.parse_or(report, scalar::all_down, AllDown::Try)?;
    Some(HealthCheck { probe: probe?, interval, timeout, rise, fall, port, all_down })
}

fn probe(raw: &RawHealth, place: Place, report: &mut Report) -> Option<Probe> {
    let tcp = raw.tcp.parse(report, scalar::only_true);
    let http = raw.http.parse(report, scalar::http_path);
    match (raw.tcp.is_absent(), raw.http.is_absent()) {
        (true, true) => {
            let mistake = Mistake::new("this health check is neither `tcp` nor `http`");
            report.add(place, mistake.hint("`tcp: true`, or `http: /path`"));
            None
        }
        (false, false) => {
            report.add(place, Mistake::new("this health check is both `tcp` and `http`"));
            None
        }
        (false, true) => tcp.map(|_| Probe::Tcp),
        (true, false) => http.map(|path| Probe::Http { path: path.value }),
    }
}

/// Why the backends' own ports cannot be probed.
pub(super) fn why_a_port(listens: &Listens, backends: &Backends) -> Option<&'static str> {
    if listens.protocol() == Some(Protocol::Udp) {
        return Some("a UDP port cannot be probed");
    }
    let portless = backends.list.iter().any(|at| at.value.endpoint.port == 0);
    portless.then_some("a backend of the service has none")
}

fn timeout(raw: &RawHealth, interval: Duration, report: &mut Report) -> Option<Duration> {
    let default = TIMEOUT_DEFAULT.min(interval);
    let timeout = raw.timeout.parse_or(report, scalar::duration, default)?;
    if timeout > interval
        && let Some(at) = raw.timeout.given()
    {
        let message = format!("timeout {timeout:?} is longer than the interval, {interval:?}");
        report.add(at.place, Mistake::new(message));
    }
    Some(timeout)
}
