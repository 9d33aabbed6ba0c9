//! A daemon on a thread of its own, in a network namespace: the demo, the tests and the bench.

use std::time::Duration;

use anyhow::bail;
use tokio::sync::oneshot;

use super::{Options, run};
use crate::lab::{Netns, Worker};

/// How long a daemon may take to come up.
const START_MAX: Duration = Duration::from_mins(1);

/// A running daemon. Dropping it takes it off its host.
#[derive(Debug)]
pub struct Background {
    stop: Option<oneshot::Sender<()>>,
    worker: Option<Worker<anyhow::Result<()>>>,
}

impl Background {
    /// Starts a daemon and waits until it balances.
    pub fn start(netns: &Netns, options: Options) -> anyhow::Result<Self> {
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let worker = Worker::spawn(Some(netns), "weir", move || run(options, ready, stopped))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let came_up = runtime.block_on(async { tokio::time::timeout(START_MAX, is_ready).await });
        match came_up {
            Ok(Ok(())) => Ok(Self { stop: Some(stop), worker: Some(worker) }),
            // It has ended: what it says is why.
            Ok(Err(_)) => match worker.finish()? {
                Err(error) => Err(error),
                Ok(()) => bail!("the daemon ended before it balanced"),
            },
            Err(_) => bail!("the daemon did not come up within {} s", START_MAX.as_secs()),
        }
    }

    /// Ends it; what went wrong on the way is the error.
    pub fn finish(mut self) -> anyhow::Result<()> {
        // The daemon may have ended already, by the signal that ends us.
        self.stop.take().map(|stop| stop.send(()));
        self.worker.take().map_or(Ok(()), |worker| worker.finish()?)
    }

    /// Ends the thread where it is, as if the process had been killed: what is pinned stays.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.worker.take().map_or(Ok(()), |worker| Ok(worker.stop().map(drop)?))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        if let Some(worker) = self.worker.take()
            && let Err(error) = worker.finish()
        {
            tracing::warn!(%error, "the daemon ended badly");
        }
    }
}
