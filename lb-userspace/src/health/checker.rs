//! Keeps probing whoever is to be probed.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::probe::{Probed, probe};
use crate::model::{Endpoint, HealthCheck};

/// A probed endpoint and what came of it.
pub type Outcome = (Endpoint, Probed);

/// One task for each probed endpoint. They end with the checker, or when nobody takes results.
#[derive(Debug)]
pub struct Checker {
    results: mpsc::Sender<Outcome>,
    tasks: BTreeMap<Endpoint, Task>,
}

impl Checker {
    /// A checker of nobody, which will send its results there.
    #[must_use]
    pub const fn new(results: mpsc::Sender<Outcome>) -> Self {
        Self { results, tasks: BTreeMap::new() }
    }

    /// Makes the probed endpoints be these: a new one, or one whose check changed, is probed at
    /// once; the others keep their rhythm. A result of a stopped task may still be on its way.
    /// Must be called inside a tokio runtime.
    pub fn sync(&mut self, wanted: &BTreeMap<Endpoint, HealthCheck>) {
        self.tasks.retain(|endpoint, task| wanted.get(endpoint) == Some(&task.check));
        for (&endpoint, check) in wanted {
            self.tasks
                .entry(endpoint)
                .or_insert_with(|| Task::start(endpoint, check.clone(), self.results.clone()));
        }
    }
}

/// A running task, aborted on drop.
#[derive(Debug)]
struct Task {
    check: HealthCheck,
    handle: JoinHandle<()>,
}

impl Task {
    fn start(endpoint: Endpoint, check: HealthCheck, results: mpsc::Sender<Outcome>) -> Self {
        let handle = tokio::spawn(run(endpoint, check.clone(), results));
        Self { check, handle }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

async fn run(endpoint: Endpoint, check: HealthCheck, results: mpsc::Sender<Outcome>) {
    let address = SocketAddr::new(endpoint.address, endpoint.port);
    let mut ticks = interval(check.interval);
    // After a standstill the missed probes would come in a burst and prove nothing.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let result = probe(address, &check).await;
        if results.send((endpoint, result)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{net::TcpListener, time::timeout};

    use super::*;
    use crate::model::AllDown;
    use crate::model::{Probe, Protocol};

    const NEVER: Duration = Duration::from_hours(1);
    const OFTEN: Duration = Duration::from_millis(10);

    fn check(interval: Duration) -> HealthCheck {
        let timeout = Duration::from_secs(20);
        HealthCheck {
            probe: Probe::Tcp,
            interval,
            timeout,
            rise: 1,
            fall: 1,
            port: None,
            all_down: AllDown::Try,
        }
    }

    fn endpoint(listener: &TcpListener) -> Endpoint {
        let address = listener.local_addr().unwrap();
        Endpoint { address: address.ip(), port: address.port(), protocol: Protocol::Tcp }
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    async fn next(results: &mut mpsc::Receiver<Outcome>) -> (Endpoint, Result<(), String>) {
        let next = timeout(Duration::from_secs(20), results.recv()).await;
        let (endpoint, Probed { result, .. }) = next.unwrap().unwrap();
        (endpoint, result)
    }

    #[tokio::test]
    async fn the_first_probe_does_not_wait_and_then_they_repeat() {
        for (interval, probes) in [(NEVER, 1), (OFTEN, 4)] {
            let (sender, mut results) = mpsc::channel(8);
            let listener = listener().await;
            let backend = endpoint(&listener);
            let mut checker = Checker::new(sender);
            checker.sync(&BTreeMap::from([(backend, check(interval))]));
            for _ in 0..probes {
                assert_eq!(next(&mut results).await, (backend, Ok(())));
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_away_is_noticed() {
        let (sender, mut results) = mpsc::channel(1);
        // An address of its own: no other test can be given the port once it is free.
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let backend = endpoint(&listener);
        let mut checker = Checker::new(sender);
        checker.sync(&BTreeMap::from([(backend, check(OFTEN))]));
        assert_eq!(next(&mut results).await, (backend, Ok(())));
        drop(listener);
        while next(&mut results).await.1.is_ok() {}
        assert_eq!(next(&mut results).await, (backend, Err("refused".to_owned())));
    }

    #[tokio::test]
    async fn an_unchanged_check_keeps_its_rhythm_and_a_changed_one_starts_anew() {
        let (sender, mut results) = mpsc::channel(8);
        let (first, second) = (listener().await, listener().await);
        let mut wanted = BTreeMap::from([(endpoint(&first), check(NEVER))]);
        let mut checker = Checker::new(sender);
        checker.sync(&wanted);
        assert_eq!(next(&mut results).await.0, endpoint(&first));

        // The next result is of the newcomer: the first was not probed again.
        wanted.insert(endpoint(&second), check(NEVER));
        checker.sync(&wanted);
        assert_eq!(next(&mut results).await.0, endpoint(&second));

        wanted.insert(endpoint(&first), check(NEVER * 2));
        checker.sync(&wanted);
        assert_eq!(next(&mut results).await.0, endpoint(&first));
    }

    #[tokio::test]
    async fn nobody_wanted_or_no_checker_means_no_task() {
        let ways: [fn(Checker) -> Option<Checker>; 2] = [
            |mut checker| {
                checker.sync(&BTreeMap::new());
                // Its own sender would keep the channel open.
                checker.results = mpsc::channel(1).0;
                Some(checker)
            },
            |checker| {
                drop(checker);
                None
            },
        ];
        for forget in ways {
            let (sender, mut results) = mpsc::channel(1);
            let listener = listener().await;
            let mut checker = Checker::new(sender);
            checker.sync(&BTreeMap::from([(endpoint(&listener), check(OFTEN))]));
            assert!(next(&mut results).await.1.is_ok());
            let _kept = forget(checker);
            while timeout(Duration::from_secs(20), results.recv()).await.unwrap().is_some() {}
        }
    }

    #[tokio::test]
    async fn a_task_ends_when_nobody_takes_results() {
        let (sender, results) = mpsc::channel(1);
        let listener = listener().await;
        let task = Task::start(endpoint(&listener), check(OFTEN), sender);
        drop(results);
        while !task.handle.is_finished() {
            tokio::time::sleep(OFTEN).await;
        }
    }
}
