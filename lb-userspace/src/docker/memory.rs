//! What is known of an engine's containers, over all connections, and what is to be asked. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    inspected::{Inspected, State},
    read::{self, Hint},
};

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: BTreeMap<String, Inspected>,
    /// Containers that were told to stop, by id and start.
    stopping: BTreeSet<(String, String)>,
    /// Containers to ask about.
    wanted: BTreeSet<String>,
    /// Containers that were asked about, and whether something happened to them since: then the
    /// answer may be older than that, and does not count.
    asked: BTreeMap<String, bool>,
    /// Whether the containers look different from when somebody last looked.
    changed: bool,
}

impl Memory {
    /// Takes the list of all containers: what is not in it is gone, everything else is looked at.
    pub(super) fn begin(&mut self, ids: Vec<String>) {
        self.wanted = ids.into_iter().collect();
        let wanted = &self.wanted;
        let before = self.known.len();
        self.known.retain(|id, _| wanted.contains(id));
        self.changed |= self.known.len() != before;
        for stale in self.asked.values_mut() {
            *stale = true;
        }
    }

    /// Forgets the questions of a connection that has ended.
    pub(super) fn hang_up(&mut self) {
        self.asked.clear();
    }

    /// The next container to ask about.
    pub(super) fn next(&mut self) -> Option<String> {
        let id = self.wanted.iter().find(|id| !self.asked.contains_key(*id))?.clone();
        self.wanted.remove(&id);
        self.asked.insert(id.clone(), false);
        Some(id)
    }

    /// Takes what a hint says by itself, and notes what is to be asked.
    pub(super) fn hear(&mut self, hint: Hint) {
        let id = match hint {
            Hint::Nothing => return,
            Hint::Signal(id, signal) => {
                if let Some(container) = self.known.get(&id)
                    && read::ends(container, signal)
                {
                    self.changed |= self.stopping.insert((id, container.started.clone()));
                }
                return;
            }
            Hint::Changed(id) => id,
            Hint::Died(id) => {
                // The engine is busy with the container now, and answers late.
                if let Some(container) = self.known.get_mut(&id) {
                    container.state = State::Still("exited".to_owned());
                    self.changed = true;
                }
                id
            }
        };
        if let Some(stale) = self.asked.get_mut(&id) {
            *stale = true;
        }
        self.wanted.insert(id);
    }

    /// Takes an answer; `None`: the container is gone.
    pub(super) fn learn(&mut self, id: String, answer: Option<Inspected>) {
        if self.asked.remove(&id) == Some(true) {
            return;
        }
        if let Some(container) = answer {
            self.stopping.retain(|(other, start)| *other != id || *start == container.started);
            self.changed |= self.known.get(&id) != Some(&container);
            self.known.insert(id, container);
        } else {
            self.stopping.retain(|(other, _)| *other != id);
            self.changed |= self.known.remove(&id).is_some();
        }
    }

    /// Whether the containers look different from when this was last asked.
    pub(super) fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The containers.
    pub(super) fn containers(&self) -> Vec<Inspected> {
        let stopping = |container: &Inspected| {
            self.stopping.contains(&(container.id.clone(), container.started.clone()))
        };
        let seen = |container: &Inspected| Inspected {
            stopping: container.stopping || stopping(container),
            ..container.clone()
        };
        self.known.values().map(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, started: &str) -> Inspected {
        let (id, started) = (id.to_owned(), started.to_owned());
        Inspected { id, started, stop_signal: 15, ..Inspected::default() }
    }

    /// A memory that knows `a` and `b`, each started once.
    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.begin(vec!["a".to_owned(), "b".to_owned()]);
        while let Some(id) = memory.next() {
            memory.learn(id.clone(), Some(container(&id, "1")));
        }
        memory
    }

    /// `a running` and the like.
    fn told(memory: &Memory) -> Vec<String> {
        let word = |one: &Inspected| match (&one.state, one.stopping) {
            (State::Running, false) => "runs".to_owned(),
            (State::Running, true) => "stops".to_owned(),
            (State::Paused, _) => "paused".to_owned(),
            (State::Still(word), _) => word.clone(),
        };
        memory.containers().iter().map(|one| format!("{} {}", one.id, word(one))).collect()
    }

    #[test]
    fn hints_are_believed_or_asked_about() {
        let id = || "a".to_owned();
        for (hint, expected, asks) in [
            (Hint::Nothing, "a runs", false),
            (Hint::Signal(id(), 15), "a stops", false),
            (Hint::Signal(id(), 1), "a runs", false),
            (Hint::Signal("stranger".to_owned(), 15), "a runs", false),
            (Hint::Changed(id()), "a runs", true),
            (Hint::Died(id()), "a exited", true),
        ] {
            let mut memory = memory();
            assert!(memory.has_changed());
            memory.hear(hint.clone());
            assert_eq!(told(&memory), [expected, "b runs"], "{hint:?}");
            assert_eq!(memory.has_changed(), expected != "a runs", "{hint:?}");
            assert_eq!(memory.next().is_some(), asks, "{hint:?}");
        }
    }

    #[test]
    fn an_answer_that_is_older_than_an_event_does_not_count() {
        let mut memory = memory();
        memory.hear(Hint::Changed("a".to_owned()));
        assert_eq!(memory.next().as_deref(), Some("a"));
        memory.hear(Hint::Died("a".to_owned()));
        assert_eq!(memory.next(), None, "one question about a container at a time");
        memory.learn("a".to_owned(), Some(container("a", "1")));
        assert_eq!(told(&memory), ["a exited", "b runs"]);
        assert_eq!(memory.next().as_deref(), Some("a"), "so it is asked again");
        memory.learn("a".to_owned(), None);
        assert_eq!(told(&memory), ["b runs"]);
    }

    #[test]
    fn a_start_ends_what_was_said_of_the_one_before() {
        let mut memory = memory();
        memory.hear(Hint::Signal("a".to_owned(), 15));
        // The list does not say who was told to stop.
        memory.begin(vec!["a".to_owned(), "b".to_owned()]);
        while let Some(id) = memory.next() {
            memory.learn(id.clone(), Some(container(&id, "1")));
        }
        assert_eq!(told(&memory), ["a stops", "b runs"]);
        memory.hear(Hint::Changed("a".to_owned()));
        memory.next();
        memory.learn("a".to_owned(), Some(container("a", "2")));
        assert_eq!(told(&memory), ["a runs", "b runs"]);
    }

    #[test]
    fn what_is_not_in_the_list_is_gone_and_lost_questions_are_asked_again() {
        let mut memory = memory();
        memory.begin(vec!["b".to_owned(), "c".to_owned()]);
        assert_eq!(told(&memory), ["b runs"]);
        assert_eq!(memory.next().as_deref(), Some("b"));
        memory.hang_up();
        memory.begin(vec!["b".to_owned()]);
        assert_eq!(memory.next().as_deref(), Some("b"));
        assert_eq!(memory.next(), None);
    }
}
