//! What is known of containers, in numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{Family, Kind, Value};
use crate::docker::{Counts, Discovered, Refusal, Verdict};

/// The engine and its containers.
#[derive(Clone, Debug, Default)]
pub struct DockerMetrics {
    /// The hosts by name.
    pub hosts: BTreeMap<String, HostMetrics>,
    /// Containers by what became of them.
    pub containers: BTreeMap<&'static str, u64>,
    /// Refused containers by reason; one may have several.
    pub refused: BTreeMap<&'static str, u64>,
    /// What came from the engine.
    pub counts: Counts,
}

/// A host with containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMetrics {
    /// Whether its engine answers.
    pub connected: bool,
    /// The containers that run there.
    pub running: u64,
}

/// What becomes of a container, in the order of the text.
const VERDICTS: [&str; 5] = ["published", "held", "still", "refused", "ignored"];

impl DockerMetrics {
    /// Counts the containers. `is_held` says whether a backend that Docker speaks for gets no new
    /// flows for a reason of Weir's own.
    #[must_use]
    pub fn of(
        hosts: BTreeMap<String, HostMetrics>,
        counts: Counts,
        discovered: &Discovered,
        is_held: impl Fn(&crate::model::Endpoint) -> bool,
    ) -> Self {
        let mut containers = BTreeMap::from(VERDICTS.map(|verdict| (verdict, 0)));
        let mut refused = BTreeMap::from(Refusal::KINDS.map(|kind| (kind, 0)));
        for finding in &discovered.containers {
            let verdict = match &finding.verdict {
                Verdict::Published { held: None, places }
                    if !places.iter().any(|(_, endpoint)| is_held(endpoint)) =>
                {
                    "published"
                }
                Verdict::Published { .. } => "held",
                Verdict::Still(_) => "still",
                Verdict::Ignored(_) => "ignored",
                Verdict::Refused(why) => {
                    let kinds: BTreeSet<_> = why.iter().map(Refusal::kind).collect();
                    for kind in kinds {
                        *refused.entry(kind).or_default() += 1;
                    }
                    "refused"
                }
            };
            *containers.entry(verdict).or_default() += 1;
        }
        Self { hosts, containers, refused, counts }
    }
}

pub(super) fn families(input: Option<&DockerMetrics>) -> Vec<Family> {
    let Some(docker) = input else { return Vec::new() };
    let family = |name, help, kind, samples| Family { name, help, kind, samples };
    let one = |value| vec![(vec![], Value::Number(value))];
    let by = |label, counts: &BTreeMap<&'static str, u64>| {
        let sample = |(name, count): (&&str, &u64)| {
            (vec![(label, (*name).to_owned())], Value::Number(*count))
        };
        counts.iter().map(sample).collect()
    };
    let of_hosts = |number: &dyn Fn(&HostMetrics) -> u64| {
        let sample = |(name, host): (&String, &HostMetrics)| {
            (vec![("host", name.clone())], Value::Number(number(host)))
        };
        docker.hosts.iter().map(sample).collect()
    };
    let Counts { events, lists, last_event_s } = docker.counts;
    vec![
        family(
            "weir_docker_connected",
            "1 if every Docker engine that is followed answers, else 0.",
            Kind::Gauge,
            one(u64::from(docker.hosts.values().all(|host| host.connected))),
        ),
        family(
            "weir_docker_host_connected",
            "1 if the Docker engine of the host answers, else 0.",
            Kind::Gauge,
            of_hosts(&|host| u64::from(host.connected)),
        ),
        family(
            "weir_docker_host_running",
            "Containers that run on the host, as last seen.",
            Kind::Gauge,
            of_hosts(&|host| host.running),
        ),
        family(
            "weir_docker_containers",
            "Containers, by what became of them.",
            Kind::Gauge,
            by("verdict", &docker.containers),
        ),
        family(
            "weir_docker_refused",
            "Refused containers, by reason.",
            Kind::Gauge,
            by("reason", &docker.refused),
        ),
        family("weir_docker_events", "Events of the engine.", Kind::Counter, one(events)),
        family(
            "weir_docker_last_event_timestamp_seconds",
            "When the engine sent its last event, 0 before the first.",
            Kind::Gauge,
            one(last_event_s),
        ),
        family(
            "weir_docker_resyncs",
            "How often the whole list of containers was read.",
            Kind::Counter,
            one(lists),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::{Finding, Held, Ignored};

    #[test]
    fn every_container_counts_once_and_each_of_its_reasons() {
        let verdicts = [
            Verdict::Published { places: Vec::new(), held: None },
            Verdict::Published { places: Vec::new(), held: Some(Held::Paused) },
            Verdict::Still("exited (0)".to_owned()),
            Verdict::Ignored(Ignored::Unlabelled),
            Verdict::Refused(vec![
                Refusal::Label("one".to_owned()),
                Refusal::Label("two".to_owned()),
                Refusal::NetworkNone,
            ]),
            Verdict::Refused(vec![Refusal::NetworkHost]),
        ];
        let finding = |verdict| Finding { id: String::new(), name: String::new(), verdict };
        let containers = verdicts.map(finding).to_vec();
        let discovered = Discovered { containers, ..Discovered::default() };
        let metrics = DockerMetrics::of(BTreeMap::new(), Counts::default(), &discovered, |_| false);
        let expected =
            [("held", 1), ("ignored", 1), ("published", 1), ("refused", 2), ("still", 1)];
        assert_eq!(metrics.containers, BTreeMap::from(expected));
        let told: Vec<_> = metrics.refused.iter().filter(|(_, count)| **count > 0).collect();
        assert_eq!(told, [(&"label", &1), (&"network", &2)]);
    }
}
