//! What backends say of their own load.

use std::time::Duration;

use super::{
    super::{
        address,
        error::{Mistake, Place, Report},
        field::At,
        raw::RawReport,
        scalar,
    },
    backends::Backends,
    health::why_a_port,
    listens::Listens,
};
use crate::model::{ReportBy, SelfReport};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// What is older is not used: a rarer report would count half of the time.
const INTERVAL_MAX: Duration = Duration::from_secs(3);

pub(in crate::config) fn self_report(
    At { value: raw, place }: &At<RawReport>,
    listens: &Listens,
    backends: &Backends,
    report: &mut Report,
) -> Option<SelfReport> {
    let by = by(raw, *place, report);
    let agent = raw.agent.parse(report, address::port_number).map(|port| port.value);
    let port = raw.port.parse(report, address::port_number);
    if let (Some(_), Some(At { place, .. })) = (agent, &port) {
        let mistake = Mistake::new("`agent` is a port already");
        report.add(*place, mistake.hint("`port` is for `http`"));
    }
    if raw.agent.is_absent()
        && raw.port.is_absent()
        && let Some(why) = why_a_port(listens, backends)
    {
        let mistake = Mistake::new(format!("this report needs a `port`: {why}"));
        report.add(*place, mistake.hint("name one where every backend answers over TCP"));
    }
    let interval = raw.interval.parse_or(report, scalar::duration, INTERVAL_DEFAULT);
    if let (Some(long), Some(at)) = (interval, raw.interval.given())
        && long > INTERVAL_MAX
    {
        let message = format!("interval {long:?} is longer than a report counts, {INTERVAL_MAX:?}");
        report.add(at.place, Mistake::new(message));
    }
    let port = agent.or(port.map(|port| port.value));
    Some(SelfReport { by: by?, port, interval: interval.unwrap_or(INTERVAL_DEFAULT) })
}

fn by(raw: &RawReport, place: Place, report: &mut Report) -> Option<ReportBy> {
    let http = raw.http.parse(report, scalar::http_path);
    match (raw.agent.is_absent(), raw.http.is_absent()) {
        (true, true) => {
            let mistake = Mistake::new("this report is neither from an `agent` nor by `http`");
            report.add(place, mistake.hint("`agent: PORT`, or `http: /path`"));
            None
        }
        (false, false) => {
            report.add(place, Mistake::new("this report is both from an `agent` and by `http`"));
            None
        }
        (false, true) => Some(ReportBy::Agent),
        (true, false) => http.map(|path| ReportBy::Http { path: path.value }),
    }
}
