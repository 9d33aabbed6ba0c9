//! Keeps asking backends for their reports.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::fetch::{FetchError, Report, fetch};
use crate::model::{Endpoint, SelfReport};

/// An answer takes no longer, or it speaks of the past.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who was asked, and what came of it.
pub type Said = (Endpoint, Result<Report, FetchError>);

/// One task for each backend that is asked. They end with the asker, or when nobody takes results.
#[derive(Debug)]
pub struct Asker {
    results: mpsc::Sender<Said>,
    tasks: BTreeMap<Endpoint, Task>,
}

impl Asker {
    /// One that asks nobody, and will send what it hears there.
    #[must_use]
    pub const fn new(results: mpsc::Sender<Said>) -> Self {
        Self { results, tasks: BTreeMap::new() }
    }

    /// Makes those that are asked be these. Must be called inside a tokio runtime.
    pub fn sync(&mut self, wanted: &BTreeMap<Endpoint, &SelfReport>) {
        self.tasks.retain(|endpoint, task| wanted.get(endpoint) == Some(&&task.report));
        for (&endpoint, &report) in wanted {
            self.tasks.entry(endpoint).or_insert_with(|| {
                let handle = tokio::spawn(run(endpoint, report.clone(), self.results.clone()));
                Task { report: report.clone(), handle }
            });
        }
    }
}

/// A running task, aborted on drop.
#[derive(Debug)]
struct Task {
    report: SelfReport,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

async fn run(endpoint: Endpoint, report: SelfReport, results: mpsc::Sender<Said>) {
    let port = report.port.unwrap_or(endpoint.port);
    let address = SocketAddr::new(endpoint.address, port);
    let mut ticks = interval(report.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let said = fetch(address, &report.by, report.interval.min(PATIENCE)).await;
        if results.send((endpoint, said)).await.is_err() {
            return;
        }
    }
}
