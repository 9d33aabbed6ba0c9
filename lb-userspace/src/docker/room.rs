//! Which host a new replica goes to, and which replica goes first: hosts that can be asked are nodes,
//! their containers stay where they are, and the rules are those of the template's labels. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    inspected::{Inspected, State},
    template::REPLICA_LABEL,
};
use crate::{
    config::{Wishes, labels},
    model::DockerHost,
    placement::{Amounts, Homes, Mistake, Node, Problem, SAME, Workload, next, score},
};

/// The hosts that can be asked, and what is on them.
#[derive(Debug)]
pub struct Rooms<'a> {
    /// Each with its processor and memory.
    pub hosts: Vec<(&'a DockerHost, Amounts)>,
    /// The containers of all hosts.
    pub containers: &'a [Inspected],
    /// The services that containers are in, by id.
    pub services: BTreeMap<String, String>,
}

/// Replicas that are being made, and not seen yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Making {
    /// The host.
    pub host: String,
}

/// Why a replica goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Nobody can be asked.
    #[error("no host has an engine that answers")]
    NoHost,
    /// None of them will do.
    #[error("no host for a replica: {0}")]
    Full(String),
}

/// Containers as replicas of a placement.
struct Picture {
    problem: Problem,
    homes: Homes,
}

impl<'a> Rooms<'a> {
    /// The host that a replica of a service after this template goes to.
    pub fn choose(
        &self,
        service: &str,
        template: &Inspected,
        making: &[Making],
    ) -> Result<&'a DockerHost, NoRoom> {
        if self.hosts.is_empty() {
            return Err(NoRoom::NoHost);
        }
        let (wishes, need) = wants(template);
        let new = |number: usize| workload(format!("new {number}"), service, need);
        let mut more: Vec<(Workload, Option<usize>)> = making
            .iter()
            .enumerate()
            .map(|(number, making)| (new(number + 1), self.host(&making.host)))
            .collect();
        more.push((new(0), None));
        let Picture { problem, homes } = self.picture(service, &wishes, more, |_| true)?;
        let full = |reason: crate::placement::Reason| NoRoom::Full(reason.to_string());
        let at = next(&problem, &homes, homes.len() - 1).map_err(full)?;
        self.hosts.get(at).map(|(host, _)| *host).ok_or(NoRoom::NoHost)
    }

    /// Of these replicas, the youngest last, so many that leave the others best balanced, the first
    /// to go first. Of equals the youngest goes. Those that are on their way out are as good as gone.
    #[must_use]
    pub fn leavers(
        &self,
        service: &str,
        replicas: &[&str],
        leaving: &BTreeSet<&str>,
        count: usize,
    ) -> Vec<String> {
        let mut gone = leaving.clone();
        let mut left: Vec<&Inspected> = replicas
            .iter()
            .rev()
            .filter_map(|id| self.containers.iter().find(|one| one.id == *id))
            .collect();
        let mut leavers = Vec::new();
        for _ in 0..count {
            // On one host they are alike: the youngest is enough to look at.
            let mut seen = BTreeSet::new();
            let youngest = left.iter().filter(|one| seen.insert(self.home(one)));
            let objectives = youngest.map(|one| (*one, self.without(service, &gone, one)));
            let lower = |best: (&'a Inspected, f64), other: (&'a Inspected, f64)| {
                if other.1 < best.1 - SAME { other } else { best }
            };
            let Some((leaver, _)) = objectives.reduce(lower) else { break };
            gone.insert(&leaver.id);
            left.retain(|one| one.id != leaver.id);
            leavers.push(leaver.id.clone());
        }
        leavers
    }

    /// The objective of what is left when these and that one are gone.
    fn without(&self, service: &str, gone: &BTreeSet<&str>, leaver: &Inspected) -> f64 {
        let stays = |one: &Inspected| one.id != leaver.id && !gone.contains(one.id.as_str());
        let picture = self.picture(service, &Wishes::default(), Vec::new(), stays);
        picture.map_or(0.0, |it| score(&it.problem, &it.homes).objective())
    }

    /// What is where. `more` is what is not there yet.
    fn picture(
        &self,
        service: &str,
        wishes: &Wishes,
        more: Vec<(Workload, Option<usize>)>,
        stays: impl Fn(&Inspected) -> bool,
    ) -> Result<Picture, NoRoom> {
        let mut all: Vec<(Workload, Option<usize>)> = self
            .containers
            .iter()
            .filter(|one| counts(one) && stays(one))
            .filter_map(|one| Some((self.workload(one), Some(self.home(one)?))))
            .chain(more)
            .collect();
        for (workload, _) in &mut all {
            if workload.service() == service {
                workload.selector.clone_from(&wishes.select);
                workload.avoid.extend(wishes.avoid.iter().cloned());
                workload.spread = wishes.spread;
            }
        }
        let there: BTreeSet<String> =
            all.iter().map(|(workload, _)| workload.service().to_owned()).collect();
        for (workload, _) in &mut all {
            workload.avoid.retain(|other| there.contains(other));
        }
        let nodes: Vec<Node> = self.hosts.iter().map(|(host, has)| node(host, *has)).collect();
        let (workloads, homes): (Vec<Workload>, Homes) = all.into_iter().unzip();
        let wrong = |mistakes: Vec<Mistake>| {
            let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            NoRoom::Full(texts.join(", "))
        };
        let problem = Problem::new(&nodes, &workloads).map_err(wrong)?;
        Ok(Picture { problem, homes })
    }

    fn workload(&self, one: &Inspected) -> Workload {
        let (wishes, need) = wants(one);
        let known = self.services.get(&one.id);
        let service = known.or_else(|| one.labels.get(REPLICA_LABEL)).unwrap_or(&one.id);
        Workload { avoid: wishes.avoid, ..workload(one.id.clone(), service, need) }
    }

    fn home(&self, one: &Inspected) -> Option<usize> {
        match &one.home {
            Some(home) => self.host(&home.name),
            None => self.hosts.iter().position(|(host, _)| host.reach.is_none()),
        }
    }

    fn host(&self, name: &str) -> Option<usize> {
        self.hosts.iter().position(|(host, _)| host.name == name)
    }
}

/// What labels ask for, and what it needs: what they say, or its limits.
fn wants(one: &Inspected) -> (Wishes, Amounts) {
    // A container whose labels are wrong is refused, and says so.
    let wishes = labels::read(&one.labels).map(|labels| labels.wishes).unwrap_or_default();
    let need = wishes.need(&one.limits);
    (wishes, need)
}

/// What does not run takes nothing, unless it is about to.
fn counts(one: &Inspected) -> bool {
    match &one.state {
        State::Running | State::Paused => true,
        State::Still(word) => word == "created" && one.labels.contains_key(REPLICA_LABEL),
    }
}

fn workload(name: String, service: &str, request: Amounts) -> Workload {
    let service = Some(service.to_owned());
    Workload { name, service, replicas: 1, request, ..Workload::default() }
}

fn node(host: &DockerHost, has: Amounts) -> Node {
    let [cpu, memory, ..] = has;
    Node {
        name: host.name.clone(),
        capacity: [host.cpu.unwrap_or(cpu), host.memory.unwrap_or(memory), 0, 0],
        zone: host.zone.clone(),
        labels: host.labels.clone(),
    }
}
