//! What the daemon says of its backends, twice a second while clients send.

use std::{
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use lb_userspace::admin::{client::ask, protocol::Request, report::ServiceReport};

use super::site::BACKENDS;
use crate::balance::sim::parts;

const INTERVAL: Duration = Duration::from_millis(500);

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    /// Since the start of the load.
    pub(crate) at_s: f64,
    /// Capacities, of their sum.
    pub(crate) parts: Vec<f64>,
    pub(crate) classes: Vec<String>,
    /// Backends that get nothing because too much of theirs fails.
    pub(crate) ejected: Vec<bool>,
}

/// Looks until it is stopped.
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: thread::JoinHandle<Vec<Tick>>,
}

impl Watch {
    pub(crate) fn start(socket: PathBuf, order: [usize; BACKENDS]) -> Self {
        let (stop, stopped) = mpsc::channel();
        let begin = Instant::now();
        let thread = thread::spawn(move || {
            let mut ticks = Vec::new();
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // A daemon that was killed says nothing.
                let services: Vec<ServiceReport> =
                    ask(&socket, &Request::Services).unwrap_or_default();
                ticks.extend(services.first().map(|it| Tick::of(begin.elapsed(), it, order)));
            }
            ticks
        });
        Self { stop, thread }
    }

    pub(crate) fn finish(self) -> Result<Vec<Tick>> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the watch of the daemon panicked"))
    }
}

impl Tick {
    /// The daemon tells backends in the order of the configuration.
    fn of(at: Duration, service: &ServiceReport, order: [usize; BACKENDS]) -> Self {
        let mut backends: Vec<_> = order.into_iter().zip(&service.backends).collect();
        backends.sort_unstable_by_key(|(number, _)| *number);
        let loads = || backends.iter().filter_map(|(_, backend)| backend.load.as_ref());
        let capacities: Vec<f64> = loads().map(|load| load.capacity).collect();
        Self {
            at_s: at.as_secs_f64(),
            parts: parts(&capacities),
            classes: loads().map(|load| load.class.clone()).collect(),
            ejected: loads().map(|load| load.text.contains("ejected")).collect(),
        }
    }
}
