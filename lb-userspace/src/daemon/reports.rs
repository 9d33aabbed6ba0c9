//! What backends say of themselves: how busy they are, which part of their weight they want, and
//! whether they want to serve at all.
//!
//! A utilisation grows old like any other figure. What an agent said otherwise holds until it says
//! something else, as with `HAProxy`: an agent that cannot be reached has not changed its mind.

use std::{collections::BTreeMap, time::Instant};

use tracing::{info, warn};

use super::{Daemon, answers::name};
use crate::{
    admin::report::BackendState,
    load::{
        report::{Administrative, AgentReport, Operational, OrcaReport, Report, Said},
        sample::Reading,
    },
    model::{Config, Endpoint, SelfReport},
    reconcile::DesiredBackend,
};

/// An agent may ask for ten times the configured weight, and for no more.
const PERCENT_MAX: u16 = 1000;
/// What a capacity can be.
const CAPACITY_MAX: u32 = 65_535;

/// The last words of all backends.
#[derive(Debug, Default)]
pub(super) struct Reports(BTreeMap<Endpoint, Words>);

/// The last words of one.
#[derive(Debug, Default)]
struct Words {
    /// How busy it says it is, and when it said so.
    used: Option<(Instant, f64)>,
    agent: AgentReport,
    /// Why the last report could not be used, or what of it is not followed.
    trouble: Option<String>,
}

/// Who is to be asked. A backend of several services is asked as the first one says.
pub(super) fn asked(config: &Config) -> BTreeMap<Endpoint, &SelfReport> {
    let mut asked = BTreeMap::new();
    for service in &config.services {
        let Some(report) = &service.report else { continue };
        for backend in &service.backends {
            asked.entry(backend.endpoint).or_insert(report);
        }
    }
    asked
}

impl Reports {
    /// Forgets what nobody asks for any more; what health checks told on the way is kept.
    pub(super) fn retain(
        &mut self,
        is_here: impl Fn(&Endpoint) -> bool,
        asked: &BTreeMap<Endpoint, &SelfReport>,
    ) {
        self.0.retain(|endpoint, _| is_here(endpoint));
        for (endpoint, words) in &mut self.0 {
            if !asked.contains_key(endpoint) {
                words.agent = AgentReport::default();
            }
        }
    }

    /// Forgets a backend: another one is in its place.
    pub(super) fn forget(&mut self, endpoint: &Endpoint) {
        self.0.remove(endpoint);
    }

    /// Takes an answer; says whether other traffic follows from it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        endpoint: Endpoint,
        said: Result<Report, String>,
    ) -> bool {
        let words = self.0.entry(endpoint).or_default();
        let before = words.effect();
        words.trouble = match said {
            Ok(Report::Agent(agent)) => words.follow(agent),
            Ok(Report::Orca(orca)) => words.learn(now, &orca),
            Err(why) => Some(why),
        };
        before != words.effect()
    }

    /// How busy a backend says it is.
    pub(super) fn reading(&self, now: Instant, endpoint: &Endpoint) -> Option<Reading> {
        let (at, value) = self.0.get(endpoint)?.used?;
        Some(Reading { value, age: now.saturating_duration_since(at) })
    }

    /// Why a backend that is able to serve does not want to.
    pub(super) fn word(&self, endpoint: &Endpoint) -> Option<(BackendState, String)> {
        self.0.get(endpoint)?.word()
    }

    /// What is wrong with the reports of a backend.
    pub(super) fn trouble(&self, endpoint: &Endpoint) -> Option<&str> {
        self.0.get(endpoint)?.trouble.as_deref()
    }

    /// The part of its weight that a backend wants, in percent.
    pub(super) fn percent(&self, endpoint: &Endpoint) -> u32 {
        let wanted = self.0.get(endpoint).and_then(|words| words.agent.percent);
        // Who wants nothing is drained, and keeps its weight for the rest of its flows.
        wanted.filter(|percent| *percent > 0).map_or(100, u32::from)
    }

    /// Gives the backends of a service the parts that they want. Weights become finer, or a part of
    /// weight 1 would be none.
    pub(super) fn scale(&self, backends: &mut [DesiredBackend]) {
        if backends.iter().all(|backend| self.percent(&backend.endpoint) == 100) {
            return;
        }
        for backend in &mut *backends {
            let percent = self.percent(&backend.endpoint);
            backend.weight = backend.weight.saturating_mul(percent);
            let capacity = backend.capacity.saturating_mul(percent).div_ceil(100);
            backend.capacity = capacity.min(CAPACITY_MAX);
        }
        let common = backends.iter().fold(0, |common, backend| divisor(common, backend.weight));
        for backend in backends.iter_mut().filter(|_| common > 1) {
            backend.weight /= common;
        }
    }
}

/// The greatest common divisor, by Euclid; of 0 and a number, the number.
const fn divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Words {
    /// Takes what an agent says; what it does not speak of stays. Returns what is not followed.
    fn follow(&mut self, said: AgentReport) -> Option<String> {
        let bounded = said.percent.map(|percent| percent.min(PERCENT_MAX));
        let own = &mut self.agent;
        own.percent = bounded.or(own.percent);
        own.administrative = said.administrative.or(own.administrative);
        own.operational = said.operational.or(own.operational);
        own.remark = said.remark;
        if let Some(most) = said.connections_max {
            return Some(format!("`maxconn:{most}` is not followed: weir limits no connections"));
        }
        if let Some(asked) = said.percent.filter(|percent| *percent > PERCENT_MAX) {
            return Some(format!("{asked}% counts as {PERCENT_MAX}%"));
        }
        said.unknown.map(|word| format!("the word {word} of its agent is not known"))
    }

    fn learn(&mut self, now: Instant, orca: &OrcaReport) -> Option<String> {
        let Some(used) = orca.utilisation() else {
            return Some("its load report has no utilisation".to_owned());
        };
        self.used = Some((now, used));
        None
    }

    /// What traffic follows from.
    const fn effect(&self) -> (Option<u16>, Option<Administrative>, Option<Operational>) {
        (self.agent.percent, self.agent.administrative, self.agent.operational)
    }

    fn word(&self) -> Option<(BackendState, String)> {
        let (state, word) = match (self.agent.administrative, self.agent.operational) {
            (Some(Administrative::Maintenance), _) => (BackendState::Down, "maint"),
            (_, Some(Operational::Down)) => (BackendState::Down, "down"),
            (_, Some(Operational::Stopped)) => (BackendState::Down, "stopped"),
            (_, Some(Operational::Failed)) => (BackendState::Down, "fail"),
            (Some(Administrative::Drain), _) => (BackendState::Drained, "drain"),
            (Some(Administrative::Ready) | None, Some(Operational::Up) | None) => {
                if self.agent.percent != Some(0) {
                    return None;
                }
                (BackendState::Drained, "0%")
            }
        };
        let remark = self.agent.remark.as_ref().map(|remark| format!(" ({remark})"));
        Some((state, format!("its agent says {word}{}", remark.unwrap_or_default())))
    }
}

impl Daemon {
    /// Asks those that are to be asked, and no others.
    pub(super) fn ask_for_reports(&mut self) {
        self.asker.sync(&asked(&self.state.config));
    }

    /// Takes an answer of one of them.
    pub(super) fn reported(&mut self, (endpoint, said): Said) {
        let said = said.map_err(|error| error.to_string());
        self.take_report(endpoint, said);
    }

    /// Takes what a backend said of itself.
    pub(super) fn take_report(&mut self, endpoint: Endpoint, said: Result<Report, String>) {
        // An answer may come after its backend was taken out.
        if self.backend_id(&endpoint).is_none() {
            return;
        }
        let before = self.state.reports.trouble(&endpoint).map(ToOwned::to_owned);
        let changed = self.state.reported(endpoint, said, Instant::now());
        match self.state.reports.trouble(&endpoint) {
            same if same == before.as_deref() => {}
            Some(why) => warn!(backend = name(&endpoint), why, "no report"),
            None => info!(backend = name(&endpoint), "reports its load"),
        }
        if changed {
            let why = self.state.health_text(&endpoint);
            let percent = self.state.reports.percent(&endpoint);
            info!(backend = name(&endpoint), percent, why, "its agent speaks");
            self.state.generation = self.state.generation.wrapping_add(1);
            self.reconcile_or_tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{config, load::report::OrcaReport};

    fn endpoint(last: u8) -> Endpoint {
        let address = std::net::Ipv4Addr::new(198, 18, 10, last).into();
        Endpoint { address, port: 80, protocol: crate::model::Protocol::Tcp }
    }

    /// One whose agent said these lines, one after the other.
    fn told(lines: &[&str]) -> Reports {
        let mut reports = Reports::default();
        for line in lines {
            let said = AgentReport::parse(line.as_bytes()).map_err(|error| error.to_string());
            reports.take(Instant::now(), endpoint(2), said.map(Report::Agent));
        }
        reports
    }

    fn word(reports: &Reports) -> String {
        let word = reports.word(&endpoint(2));
        word.map_or_else(String::new, |(state, why)| format!("{}: {why}", state.name()))
    }

    #[test]
    fn an_agent_s_words_mean_what_they_mean_to_haproxy() {
        #[rustfmt::skip]
        let table: [(&[&str], &str, u32); 20] = [
            // said, word, percent
            (&[],                            "",                                       100),
            (&["up"],                        "",                                       100),
            (&["ready up 75%"],              "",                                       75),
            (&["75%", "up"],                 "",                                       75),
            (&["75%", "100%"],               "",                                       100),
            (&["0%"],                        "drained: its agent says 0%",             100),
            (&["0%", "5%"],                  "",                                       5),
            (&["drain"],                     "drained: its agent says drain",          100),
            (&["drain", "50%"],              "drained: its agent says drain",          50),
            (&["drain", "up"],               "drained: its agent says drain",          100),
            (&["drain", "ready"],            "",                                       100),
            (&["maint"],                     "down: its agent says maint",             100),
            (&["maint", "drain"],            "drained: its agent says drain",          100),
            (&["maint", "ready"],            "",                                       100),
            (&["down #disk full"],           "down: its agent says down (disk full)",  100),
            (&["down", "ready"],             "down: its agent says down",              100),
            (&["stopped"],                   "down: its agent says stopped",           100),
            (&["fail"],                      "down: its agent says fail",              100),
            (&["fail", "up"],                "",                                       100),
            // Nobody answers, or nobody can read it: what was said holds.
            (&["maint", "SSH-2.0-x"],        "down: its agent says maint",             100),
        ];
        for (lines, expected, percent) in table {
            let reports = told(lines);
            assert_eq!(word(&reports), expected, "{lines:?}");
            assert_eq!(reports.percent(&endpoint(2)), percent, "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_followed_is_said() {
        #[rustfmt::skip]
        let table: [(&[&str], &str); 7] = [
            (&["up 50%"],              ""),
            (&["up maxconn:30"],       "`maxconn:30` is not followed: weir limits no connections"),
            (&["up maxconn:30", "up"], ""),
            (&["65535%"],              "65535% counts as 1000%"),
            (&["up sideways"],         "the word \"sideways\" of its agent is not known"),
            (&["SSH-2.0-x"],           "the agent's answer is not understood: \"SSH-2.0-x\""),
            (&["SSH-2.0-x", "up"],     ""),
        ];
        for (lines, expected) in table {
            let reports = told(lines);
            assert_eq!(reports.trouble(&endpoint(2)).unwrap_or_default(), expected, "{lines:?}");
        }
    }

    #[test]
    fn only_what_changes_traffic_is_a_change() {
        let mut reports = Reports::default();
        let mut take = |said: &str| {
            let said = AgentReport::parse(said.as_bytes()).map_err(|error| error.to_string());
            reports.take(Instant::now(), endpoint(2), said.map(Report::Agent))
        };
        for (line, expected) in [
            ("up", true),
            ("up #load 3", false),
            ("up #load 4", false),
            ("90%", true),
            ("90%", false),
            ("nonsense", false),
            ("drain", true),
        ] {
            assert_eq!(take(line), expected, "{line}");
        }
    }

    #[test]
    fn a_utilisation_grows_old() {
        let start = Instant::now();
        let mut reports = Reports::default();
        let orca = |text: &str| Ok(Report::Orca(OrcaReport::parse_text(text.as_bytes()).unwrap()));
        assert!(!reports.take(start, endpoint(2), orca("cpu_utilization=1.5")));
        // Neither silence nor a report of other things makes it younger.
        reports.take(start, endpoint(2), Err("refused".to_owned()));
        assert_eq!(reports.trouble(&endpoint(2)), Some("refused"));
        reports.take(start, endpoint(2), orca("eps=1"));
        let why = "its load report has no utilisation";
        assert_eq!(reports.trouble(&endpoint(2)), Some(why));
        let later = start + Duration::from_secs(4);
        let expected = Reading { value: 1.0, age: Duration::from_secs(4) };
        assert_eq!(reports.reading(later, &endpoint(2)), Some(expected));
        assert_eq!(reports.reading(later, &endpoint(3)), None);
        reports.forget(&endpoint(2));
        assert_eq!(reports.reading(later, &endpoint(2)), None);
    }

    /// Weights and capacities of two backends, of which the second's agent said something.
    fn scaled(line: &str, given: [(u32, u32); 2]) -> [(u32, u32); 2] {
        let backend = |(last, (weight, capacity))| DesiredBackend {
            endpoint: endpoint(last),
            weight,
            capacity,
        };
        let mut backends = [(3, given[1]), (2, given[0])].map(backend);
        told(&[line]).scale(&mut backends);
        let [other, own] = backends;
        [(own.weight, own.capacity), (other.weight, other.capacity)]
    }

    #[test]
    fn parts_of_weights_are_not_lost() {
        #[rustfmt::skip]
        let table = [
            // said, own and other before, after
            ("up",    [(1, 0), (1, 0)],             [(1, 0), (1, 0)]),
            ("75%",   [(1, 0), (1, 0)],             [(3, 0), (4, 0)]),
            ("200%",  [(1, 0), (1, 0)],             [(2, 0), (1, 0)]),
            ("50%",   [(1000, 65535), (4, 65535)],  [(125, 32768), (1, 65535)]),
            ("1%",    [(1, 1), (1, 65535)],         [(1, 1), (100, 65535)]),
            ("300%",  [(2, 65535), (2, 1)],         [(3, 65535), (1, 1)]),
            // Who has no weight, or wants no flows, is not given any.
            ("50%",   [(0, 9), (1, 9)],             [(0, 5), (1, 9)]),
            ("0%",    [(1, 9), (1, 9)],             [(1, 9), (1, 9)]),
        ];
        for (line, given, expected) in table {
            assert_eq!(scaled(line, given), expected, "{line} {given:?}");
        }
    }

    #[test]
    fn the_first_service_says_how_a_backend_is_asked() {
        let text = "services:
  - { name: a, listen: [198.18.0.1:80], backends: [{ address: 198.18.10.2:80 }] }
  - { name: b, listen: [198.18.0.1:81], report: { agent: 9 }, backends: [{ address: 198.18.10.2:80 }] }
  - { name: c, listen: [198.18.0.1:82], report: { agent: 8 }, backends: [{ address: 198.18.10.2:80 }] }
";
        let config = config::parse("weir.yaml", text).unwrap().config;
        let asked = asked(&config);
        assert_eq!(asked[&endpoint(2)].port, Some(9));
        // Who is not asked any more is believed no more.
        let mut reports = told(&["drain"]);
        reports.retain(|it| *it == endpoint(2), &asked);
        assert_eq!(word(&reports), "drained: its agent says drain");
        reports.retain(|it| *it == endpoint(2), &BTreeMap::new());
        assert_eq!(word(&reports), "");
    }
}
