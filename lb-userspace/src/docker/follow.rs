//! Follows an engine: its list when a connection begins and now and then, its events in between,
//! and another connection when one is lost. What was known stays known meanwhile.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at, sleep},
};

use super::{
    engine::{Engine, EngineError},
    inspected::{Inspected, State},
    read::{self, Hint, Known},
};

/// The first pause before another connection; each one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the whole list is read without any hint.
const RESYNC: Duration = Duration::from_secs(30);

/// What is known of an engine and its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether there is a connection.
    pub link: Link,
    /// The containers as they were last seen.
    pub containers: Vec<Inspected>,
}

/// Whether there is a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nobody knows yet.
    #[default]
    Connecting,
    /// There is one.
    Connected {
        /// Version of the engine's interface.
        api: String,
    },
    /// There is none.
    Lost {
        /// Why.
        why: String,
    },
}

/// A task that follows an engine. It ends when this is dropped.
#[derive(Debug)]
pub struct Follower {
    view: watch::Receiver<View>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Begins to follow; must be called inside a tokio runtime.
    #[must_use]
    pub fn start(socket: &Path) -> Self {
        let (tell, view) = watch::channel(View::default());
        Self { view, task: tokio::spawn(follow(socket.to_owned(), tell)) }
    }

    /// Waits for another view. Never ends if the task has.
    pub async fn changed(&mut self) {
        if self.view.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The view.
    pub fn view(&mut self) -> View {
        self.view.borrow_and_update().clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The containers of an engine at this moment.
pub async fn containers(socket: &Path) -> Result<View, EngineError> {
    let engine = Engine::connect(socket).await?;
    let containers = engine.containers().await?.into_values().collect();
    Ok(View { link: Link::Connected { api: engine.version() }, containers })
}

async fn follow(socket: PathBuf, tell: watch::Sender<View>) {
    let mut memory = Memory::default();
    let mut pause = PAUSE_MIN;
    loop {
        let mut met = false;
        // A session ends with an error only.
        let Err(error) = session(&socket, &mut memory, &tell, &mut met).await;
        if met {
            pause = PAUSE_MIN;
        }
        let why = error.to_string();
        tell.send_if_modified(|view| {
            let link = Link::Lost { why };
            let changed = view.link != link;
            view.link = link;
            changed
        });
        tokio::select! {
            () = tell.closed() => return,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What is known, over all connections.
#[derive(Debug, Default)]
struct Memory {
    known: Known,
    /// Containers that were told to stop, by id and start.
    stopping: BTreeSet<(String, String)>,
}

impl Memory {
    fn replace(&mut self, known: Known) {
        self.known = known;
        let known = &self.known;
        self.stopping.retain(|(id, started)| {
            known.get(id).is_some_and(|container| container.started == *started)
        });
    }

    fn put(&mut self, id: String, container: Option<Inspected>) {
        match container {
            Some(container) => drop(self.known.insert(id, container)),
            None => drop(self.known.remove(&id)),
        }
    }

    /// Takes what a hint says by itself; the id is of a container to look at.
    fn take(&mut self, hint: Hint) -> Option<String> {
        match hint {
            Hint::Nothing => None,
            Hint::Changed(id) => Some(id),
            Hint::Signal(id, signal) => {
                let container = self.known.get(&id)?;
                if read::ends(container, signal) {
                    self.stopping.insert((id, container.started.clone()));
                }
                None
            }
            Hint::Died(id) => {
                // The engine is busy with the container now, and answers late.
                if let Some(container) = self.known.get_mut(&id) {
                    container.state = State::Still("exited".to_owned());
                }
                Some(id)
            }
        }
    }

    fn containers(&self) -> Vec<Inspected> {
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

/// One connection, from its list to its end. `met`: there was an engine.
async fn session(
    socket: &Path,
    memory: &mut Memory,
    tell: &watch::Sender<View>,
    met: &mut bool,
) -> Result<std::convert::Infallible, EngineError> {
    let engine = Engine::connect(socket).await?;
    let mut events = engine.events();
    memory.replace(engine.containers().await?);
    *met = true;
    let say = |memory: &Memory| {
        let link = Link::Connected { api: engine.version() };
        let view = View { link, containers: memory.containers() };
        tell.send_if_modified(|old| {
            let changed = *old != view;
            *old = view;
            changed
        });
    };
    say(memory);
    let mut resync = interval_at(tokio::time::Instant::now() + RESYNC, RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.next() => event.ok_or_else(|| engine.ended())??,
            _ = resync.tick() => {
                memory.replace(engine.containers().await?);
                say(memory);
                continue;
            }
        };
        let hint = read::hint(&event);
        if hint == Hint::Nothing {
            // Docker's health checks alone are three of these a probe.
            continue;
        }
        let mut touched: BTreeSet<String> = memory.take(hint).into_iter().collect();
        // Whatever else is there already; a start is four events.
        while let Some(Some(event)) = events.next().now_or_never() {
            touched.extend(memory.take(read::hint(&event?)));
        }
        // What the events say by themselves need not wait for answers.
        say(memory);
        for id in touched {
            let container = engine.inspect(&id).await?;
            memory.put(id, container);
        }
        say(memory);
    }
}
