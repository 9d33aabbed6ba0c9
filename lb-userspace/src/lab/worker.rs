//! A thread with its own runtime that lives in a namespace.

use std::{convert::Infallible, io, sync::mpsc, thread};

use tokio::sync::oneshot;

use super::Netns;

/// A future on a thread of its own, inside a namespace. Dropping the worker drops the future and
/// waits for the thread, so no thread outlives the laboratory it holds open.
#[derive(Debug)]
pub struct Worker<T> {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<thread::JoinHandle<Option<T>>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread in the namespace, or in the caller's, and runs the future there. Sockets
    /// that the future makes belong to that namespace.
    pub fn spawn<F>(
        netns: Option<&Netns>,
        name: &str,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = T>,
    {
        let door = netns.map(Netns::door);
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let entered = door.map_or(Ok(()), |door| door.enter());
            let runtime = entered
                .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
            let (runtime, outcome) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if started.send(outcome).is_err() {
                return None;
            }
            runtime?.block_on(async {
                tokio::select! {
                    biased;
                    _ = stopped => None,
                    output = work() => Some(output),
                }
            })
        })?;
        let worker = Self { stop: Some(stop), thread: Some(thread) };
        start.recv().map_err(|_| panicked())??;
        Ok(worker)
    }

    /// Waits for the future to end by itself.
    pub fn finish(mut self) -> io::Result<T> {
        self.join().and_then(|output| output.ok_or_else(panicked))
    }

    /// Ends it where it is. Its output, if it had ended before.
    pub fn stop(mut self) -> io::Result<Option<T>> {
        self.stop = None;
        self.join()
    }
}

impl<T> Worker<T> {
    fn join(&mut self) -> io::Result<Option<T>> {
        self.thread.take().map_or(Ok(None), |thread| thread.join().map_err(|_| panicked()))
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // The sender's end is the signal.
        self.stop = None;
        if let Err(error) = self.join() {
            tracing::warn!(%error, "a worker ended badly");
        }
    }
}

fn panicked() -> io::Error {
    io::Error::other("the worker's thread panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_returns_what_its_future_returns() {
        let worker = Worker::spawn(None, "seven", || async { 7 }).unwrap();
        assert_eq!(worker.finish().unwrap(), 7);
    }

    #[test]
    fn a_worker_that_never_ends_can_be_stopped() {
        let worker = Worker::spawn(None, "endless", std::future::pending::<u8>).unwrap();
        assert_eq!(worker.stop().unwrap(), None);
    }

    #[test]
    fn a_dropped_worker_drops_its_future() {
        let (held, watched) = mpsc::channel::<()>();
        let worker = Worker::spawn(None, "holder", move || async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        drop(worker.unwrap());
        assert!(watched.recv().is_err());
    }

    #[test]
    fn a_panic_inside_is_an_error_outside() {
        let worker =
            Worker::<()>::spawn(None, "panics", || async { panic!("on purpose") }).unwrap();
        assert!(worker.finish().is_err());
    }
}
