//! Who probes: one task a backend, started and stopped with the configuration.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::probe::probe;
use crate::model::{Endpoint, HealthCheck};

/// All probing tasks; dropping it stops them.
#[derive(Debug)]
pub struct Checker {
    results: mpsc::Sender<(Endpoint, Result<(), String>)>,
    tasks: BTreeMap<Endpoint, (HealthCheck, JoinHandle<()>)>,
}

impl Checker {
    /// Nobody is probed yet; results will go to `results`.
    #[must_use]
    pub const fn new(results: mpsc::Sender<(Endpoint, Result<(), String>)>) -> Self {
        Self { results, tasks: BTreeMap::new() }
    }

    /// Probes exactly these backends from here on; who is probed the same way goes on.
    pub fn sync(&mut self, wanted: &BTreeMap<Endpoint, HealthCheck>) {
        self.tasks.retain(|endpoint, (check, task)| {
            let keep = wanted.get(endpoint) == Some(check);
            if !keep {
                task.abort();
            }
            keep
        });
        for (endpoint, check) in wanted {
            let start = || {
                let work = keep_probing(*endpoint, check.clone(), self.results.clone());
                (check.clone(), tokio::spawn(work))
            };
            self.tasks.entry(*endpoint).or_insert_with(start);
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        for (_, task) in self.tasks.values() {
            task.abort();
        }
    }
}

async fn keep_probing(
    endpoint: Endpoint,
    check: HealthCheck,
    results: mpsc::Sender<(Endpoint, Result<(), String>)>,
) {
    let address = SocketAddr::new(endpoint.address, check.port.unwrap_or(endpoint.port));
    let mut turns = interval(check.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if results.send((endpoint, probe(address, &check).await)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::model::{Probe, Protocol};

    #[tokio::test]
    async fn backends_are_probed_until_they_are_not_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (port, protocol) = (address.port(), Protocol::Tcp);
        let endpoint = Endpoint { address: address.ip(), port, protocol };
        let (interval, timeout) = (Duration::from_millis(5), Duration::from_secs(5));
        let check =
            HealthCheck { probe: Probe::Tcp, interval, timeout, rise: 1, fall: 1, port: None };
        let (sender, mut results) = mpsc::channel(1);
        let mut checker = Checker::new(sender);
        checker.sync(&BTreeMap::from([(endpoint, check)]));
        for _ in 0..3 {
            assert_eq!(results.recv().await, Some((endpoint, Ok(()))));
        }
        checker.sync(&BTreeMap::new());
        drop(checker);
        // What was on its way may still come; then the channel ends, because nobody sends.
        while results.recv().await.is_some() {}
    }
}
