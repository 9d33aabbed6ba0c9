//! Which replicas have to be made, and which have to go, for their number to be the desired one.
//!
//! A plan is made from what there is, whenever anybody looks; doing it twice is harmless. Only what
//! was made here is ever taken away: everything else counts, and stays. What goes takes no new
//! flows first, and goes when its last flow has ended. What fails to start, or ends by itself, is
//! replaced after a pause that doubles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use super::starts::Starts;

/// Replicas that are made at the same time; an engine has other work.
const CREATING_MAX: usize = 4;
/// The pause after a failure; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// After so long without one, a failure is the first one.
const FORGIVEN: Duration = Duration::from_mins(10);
/// How long what was just made may be unseen.
const UNSEEN_MAX: Duration = Duration::from_secs(10);
/// What takes no new flows may still get those that were under way.
const SETTLE: Duration = Duration::from_secs(2);

/// A server of a service, as far as it matters for how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Names it over its whole life.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Whether it was made here.
    pub own: bool,
    /// What it does.
    pub standing: Standing,
    /// Flows it has.
    pub flows: u64,
}

/// What a replica does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes new flows, or would if nobody had drained it here.
    Healthy,
    /// It does not answer, or not yet.
    Starting,
    /// Somebody else has told it to go: it is none any more.
    Leaving,
    /// It does not run; why.
    Ended(String),
}

/// What a plan has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many there shall be.
    pub desired: u32,
    /// How long a new one may need until it answers.
    pub patience: Duration,
    /// How long what goes may keep its flows.
    pub drain: Duration,
    /// Whether not all that there is can be seen: then nobody is drained.
    pub frozen: bool,
}

/// A thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make one.
    Create,
    /// It gets no new flows.
    Drain(String),
    /// It gets new flows again.
    Undrain(String),
    /// Stop it, and take it away.
    Remove(String, Removal),
}

/// Why one is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is not needed, and has no flows any more.
    Idle,
    /// It is not needed, and had its time for its flows.
    Overdue(u64),
    /// It ended by itself.
    Ended(String),
    /// It never answered.
    Mute(Duration),
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("not needed, and its last flow has ended"),
            Self::Overdue(flows) => {
                write!(f, "not needed, and the time for its {flows} flows is over")
            }
            Self::Ended(why) => write!(f, "it ended by itself: {why}"),
            Self::Mute(patience) => write!(f, "it has not answered for {} s", patience.as_secs()),
        }
    }
}

/// The replicas of one service over time.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Those that go, since when.
    draining: BTreeMap<String, Instant>,
    removing: BTreeSet<String>,
    /// Those that somebody wants to stay.
    kept: BTreeSet<String>,
    creating: usize,
    /// Those that were made and have not been seen yet.
    unseen: BTreeMap<String, Instant>,
    /// Own ones that have not answered yet, since when; and those that have.
    starting: BTreeMap<String, Instant>,
    proven: BTreeSet<String>,
    starts: Starts,
    failures: u32,
    last_failure: Option<Instant>,
    trouble: Option<String>,
    /// How often something was made, taken away, and went wrong.
    pub counts: Counts,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Replicas made.
    pub created: u64,
    /// Replicas taken away.
    pub removed: u64,
    /// What went wrong: they could not be made or taken away, ended, or never answered.
    pub failed: u64,
}

impl Fleet {
    /// What is to be done about these. Every step counts as begun.
    pub fn plan(&mut self, now: Instant, rules: &Rules, replicas: &[Replica]) -> Vec<Step> {
        self.look(now, replicas);
        let mut steps = self.failed(now, rules, replicas);
        steps.extend(self.drained(now, rules, replicas));
        let live: Vec<&Replica> = replicas.iter().filter(|one| self.is_live(one)).collect();
        let pending = self.creating + self.unseen.len();
        let desired = usize::try_from(rules.desired).unwrap_or(usize::MAX);
        let count = live.len() + pending;
        if count < desired {
            steps.extend(self.more(now, desired - count, replicas));
        } else if live.len() > desired && !rules.frozen {
            steps.extend(self.fewer(now, desired, &live));
        } else if !self.pauses(now) && count == desired && pending + self.starting.len() == 0 {
            self.trouble = None;
        }
        steps
    }

    /// One was made, or could not be.
    pub fn created(&mut self, now: Instant, result: Result<String, String>) {
        self.creating = self.creating.saturating_sub(1);
        self.starts.made(result.as_ref().ok());
        match result {
            Ok(id) => {
                self.counts.created += 1;
                self.unseen.insert(id, now);
            }
            Err(why) => self.fail(now, why),
        }
    }

    /// One was taken away, or could not be.
    pub fn removed(&mut self, now: Instant, id: &str, result: Result<(), String>) {
        self.removing.remove(id);
        match result {
            Ok(()) => self.counts.removed += 1,
            Err(why) => self.fail(now, why),
        }
    }

    /// What went wrong last, and when it is tried again.
    #[must_use]
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let why = self.trouble.as_ref()?;
        let left = self.pause_left(now).as_secs();
        Some(if left == 0 { why.clone() } else { format!("{why}; tried again in {left} s") })
    }

    /// How long nine of ten replicas needed from the decision until they answered; `None` before
    /// enough were seen.
    #[must_use]
    pub fn start_time(&self) -> Option<Duration> {
        self.starts.estimate()
    }

    /// Whether one is drained from here.
    #[must_use]
    pub fn drains(&self, id: &str) -> bool {
        self.draining.contains_key(id)
    }

    /// Those that are drained from here and not being taken away yet.
    pub fn leaving(&self) -> impl Iterator<Item = &String> {
        self.draining.keys().filter(|id| !self.removing.contains(*id))
    }

    /// Whether somebody wants one to stay.
    #[must_use]
    pub fn keeps(&self, id: &str) -> bool {
        self.kept.contains(id)
    }

    /// Somebody has undrained one: it stays until they drain it themselves, and another one goes.
    pub fn keep(&mut self, id: &str) {
        if self.draining.remove(id).is_some() {
            self.kept.insert(id.to_owned());
        }
    }

    /// Lets everybody stay who is on the way out and not being taken away yet; returns them.
    pub fn release(&mut self) -> Vec<String> {
        let kept = |id: &String| !self.removing.contains(id);
        std::mem::take(&mut self.draining).into_keys().filter(kept).collect()
    }

    fn look(&mut self, now: Instant, replicas: &[Replica]) {
        let there: BTreeMap<&str, &Standing> =
            replicas.iter().map(|one| (one.id.as_str(), &one.standing)).collect();
        self.unseen.retain(|id, since| {
            !there.contains_key(id.as_str()) && now.saturating_duration_since(*since) < UNSEEN_MAX
        });
        self.draining.retain(|id, _| there.contains_key(id.as_str()));
        self.proven.retain(|id| there.contains_key(id.as_str()));
        let leaves =
            |id: &String| there.get(id.as_str()).is_none_or(|it| **it == Standing::Leaving);
        self.kept.retain(|id| !leaves(id));
        let unseen = &self.unseen;
        self.starts.retain(|id| there.contains_key(id.as_str()) || unseen.contains_key(id));
        self.starting.retain(|id, _| there.get(id.as_str()) == Some(&&Standing::Starting));
        for one in replicas.iter().filter(|one| one.own) {
            if one.standing == Standing::Healthy {
                self.starts.answered(now, &one.id);
                if self.proven.insert(one.id.clone()) && !self.pauses(now) {
                    self.trouble = None;
                }
            } else if one.standing == Standing::Starting && !self.proven.contains(&one.id) {
                self.starting.entry(one.id.clone()).or_insert(now);
            }
        }
    }

    /// Takes away what has failed.
    fn failed(&mut self, now: Instant, rules: &Rules, replicas: &[Replica]) -> Vec<Step> {
        let mut steps = Vec::new();
        for one in self.removable(now, replicas) {
            let since = self.starting.get(&one.id);
            let waited = since.map(|since| now.saturating_duration_since(*since));
            let removal = match (&one.standing, waited) {
                (Standing::Ended(why), _) => Removal::Ended(why.clone()),
                (Standing::Starting, Some(waited)) if waited >= rules.patience => {
                    Removal::Mute(rules.patience)
                }
                (Standing::Healthy | Standing::Starting | Standing::Leaving, _) => continue,
            };
            // What was on its way out has not failed by ending.
            if !self.draining.contains_key(&one.id) {
                self.fail(now, format!("{}: {removal}", one.name));
            }
            steps.push(self.remove(one, removal));
        }
        steps
    }

    /// Takes away what has nothing to do any more.
    fn drained(&mut self, now: Instant, rules: &Rules, replicas: &[Replica]) -> Vec<Step> {
        let mut steps = Vec::new();
        for one in self.removable(now, replicas) {
            let Some(since) = self.draining.get(&one.id) else { continue };
            let passed = now.saturating_duration_since(*since);
            if passed >= SETTLE && one.flows == 0 {
                steps.push(self.remove(one, Removal::Idle));
            } else if passed >= rules.drain {
                steps.push(self.remove(one, Removal::Overdue(one.flows)));
            }
        }
        steps
    }

    /// The own ones that nobody is taking away. What could not be is not tried again at once.
    fn removable<'a>(&self, now: Instant, replicas: &'a [Replica]) -> Vec<&'a Replica> {
        if self.pauses(now) {
            return Vec::new();
        }
        replicas.iter().filter(|one| one.own && !self.removing.contains(&one.id)).collect()
    }

    fn remove(&mut self, one: &Replica, why: Removal) -> Step {
        self.removing.insert(one.id.clone());
        Step::Remove(one.id.clone(), why)
    }

    fn is_live(&self, one: &Replica) -> bool {
        let runs = matches!(one.standing, Standing::Healthy | Standing::Starting);
        runs && !self.draining.contains_key(&one.id) && !self.removing.contains(&one.id)
    }

    /// What was on its way out comes back first; the rest is made.
    fn more(&mut self, now: Instant, missing: usize, replicas: &[Replica]) -> Vec<Step> {
        let back = |one: &&Replica| {
            self.draining.contains_key(&one.id)
                && !self.removing.contains(&one.id)
                && one.standing == Standing::Healthy
        };
        let back: Vec<String> =
            replicas.iter().filter(back).take(missing).map(|one| one.id.clone()).collect();
        let mut steps = Vec::new();
        for id in back {
            self.draining.remove(&id);
            steps.push(Step::Undrain(id));
        }
        if !self.pauses(now) {
            let room = CREATING_MAX.saturating_sub(self.creating);
            // After a failure one has to answer before there are more.
            let tried = self.creating + self.unseen.len() + self.starting.len();
            let room = if self.trouble.is_some() { 1_usize.saturating_sub(tried) } else { room };
            let create = (missing - steps.len()).min(room);
            self.creating += create;
            (0..create).for_each(|_| self.starts.begin(now));
            steps.extend(std::iter::repeat_n(Step::Create, create));
        }
        steps
    }

    /// Those that do not answer go first, then those that came last. One that answers goes only if
    /// enough others do.
    fn fewer(&mut self, now: Instant, desired: usize, live: &[&Replica]) -> Vec<Step> {
        let surplus = live.len() - desired;
        let is_healthy = |one: &&&Replica| one.standing == Standing::Healthy;
        let mut healthy = live.iter().filter(is_healthy).count();
        // The engine lists them in the order in which they were made.
        let own = || live.iter().rev().filter(|one| one.own && !self.kept.contains(&one.id));
        let order = own().filter(|one| !is_healthy(one)).chain(own().filter(is_healthy));
        let order: Vec<&&Replica> = order.take(surplus).collect();
        let mut steps = Vec::new();
        for one in order {
            if one.standing == Standing::Healthy {
                if healthy <= desired {
                    break;
                }
                healthy -= 1;
            }
            self.draining.insert(one.id.clone(), now);
            steps.push(Step::Drain(one.id.clone()));
        }
        steps
    }

    fn fail(&mut self, now: Instant, why: String) {
        self.counts.failed += 1;
        self.trouble = Some(why);
        // What fails together is one failure.
        if self.pauses(now) {
            return;
        }
        let since = self.last_failure.map(|at| now.saturating_duration_since(at));
        let lately = since.is_some_and(|since| since < FORGIVEN);
        self.failures = if lately { self.failures.saturating_add(1) } else { 1 };
        self.last_failure = Some(now);
    }

    fn pauses(&self, now: Instant) -> bool {
        !self.pause_left(now).is_zero()
    }

    fn pause_left(&self, now: Instant) -> Duration {
        let Some(last) = self.last_failure else { return Duration::ZERO };
        pause(self.failures).saturating_sub(now.saturating_duration_since(last))
    }
}

/// The pause after so many failures in a row.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    PAUSE.saturating_mul(doubled).min(PAUSE_MAX)
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
