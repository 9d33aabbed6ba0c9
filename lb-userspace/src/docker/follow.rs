//! Follows an engine: its list when a connection begins and now and then, its events in between,
//! and another connection when one is lost. What was known stays known meanwhile.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::models::EventMessage;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at, sleep},
};

use super::{
    engine::{Engine, EngineError},
    inspected::Inspected,
    memory::Memory,
    read,
};
use crate::{model::DockerHost, placement::Amounts};

/// The first pause before another connection; each one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the whole list is read without any hint.
const RESYNC: Duration = Duration::from_secs(30);
/// Questions about containers that are under way at a time.
const QUESTIONS: usize = 16;

/// What is known of an engine and its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether there is a connection.
    pub link: Link,
    /// The containers as they were last seen.
    pub containers: Vec<Inspected>,
    /// Processor and memory of the host, once the engine has told.
    pub machine: Option<Amounts>,
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

/// What came from an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Lists of all containers.
    pub lists: u64,
    /// When the engine sent its last event, in seconds since 1970; 0: it has sent none.
    pub last_event_s: u64,
}

impl Counts {
    fn hear(&mut self, event: &EventMessage) {
        self.events += 1;
        let at = event.time.and_then(|seconds| u64::try_from(seconds).ok());
        self.last_event_s = at.unwrap_or(self.last_event_s);
    }
}

/// The counts, where the task and whoever asks both have them.
type Shared = Arc<Mutex<Counts>>;

fn count(shared: &Shared, count: impl FnOnce(&mut Counts)) {
    count(&mut shared.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A task that follows an engine. It ends when this is dropped.
#[derive(Debug)]
pub struct Follower {
    view: watch::Receiver<View>,
    counts: Shared,
    task: JoinHandle<()>,
}

impl Follower {
    /// Begins to follow; must be called inside a tokio runtime.
    #[must_use]
    pub fn start(host: &DockerHost) -> Self {
        let (tell, view) = watch::channel(View::default());
        let counts = Shared::default();
        let task = tokio::spawn(follow(host.clone(), tell, Arc::clone(&counts)));
        Self { view, counts, task }
    }

    /// What has come from the engine.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
pub async fn containers(host: &DockerHost) -> Result<View, EngineError> {
    let engine = Engine::connect(host).await?;
    let machine = Some(engine.machine().await?);
    let mut containers = Vec::new();
    for id in engine.list().await? {
        containers.extend(engine.inspect(&id).await?);
    }
    Ok(View { link: Link::Connected { api: engine.version() }, containers, machine })
}

async fn follow(host: DockerHost, tell: watch::Sender<View>, counts: Shared) {
    let mut memory = Memory::default();
    let mut pause = PAUSE_MIN;
    loop {
        let mut met = false;
        // A session ends with an error only.
        let Err(error) = session(&host, &mut memory, &tell, &counts, &mut met).await;
        memory.hang_up();
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

async fn list(engine: &Engine, counts: &Shared) -> Result<Vec<String>, EngineError> {
    let list = engine.list().await?;
    count(counts, |counts| counts.lists += 1);
    Ok(list)
}

/// One connection, from its list to its end. `met`: there was an engine.
///
/// The engine answers late about a container that it is starting or stopping, so every container is
/// asked about by itself, and events of others need not wait.
async fn session(
    host: &DockerHost,
    memory: &mut Memory,
    tell: &watch::Sender<View>,
    counts: &Shared,
    met: &mut bool,
) -> Result<Infallible, EngineError> {
    let engine = Engine::connect(host).await?;
    let machine = Some(engine.machine().await?);
    let mut events = engine.events();
    memory.begin(list(&engine, counts).await?);
    let mut asked = FuturesUnordered::new();
    let mut resync = interval_at(tokio::time::Instant::now() + RESYNC, RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while asked.len() < QUESTIONS
            && let Some(id) = memory.next()
        {
            let engine = &engine;
            asked.push(async move {
                let answer = engine.inspect(&id).await;
                (id, answer)
            });
        }
        // Half of the first list would look as if the other half had gone.
        let complete = *met || asked.is_empty();
        if complete && (memory.has_changed() || !*met) {
            *met = true;
            let link = Link::Connected { api: engine.version() };
            tell.send_replace(View { link, containers: memory.containers(), machine });
        }
        tokio::select! {
            event = events.next() => {
                let mut next = Some(event.ok_or_else(|| engine.ended())?);
                while let Some(event) = next {
                    let event = event?;
                    count(counts, |counts| counts.hear(&event));
                    memory.hear(read::hint(&event));
                    // Whatever else is there already; a start is four events.
                    next = events.next().now_or_never().flatten();
                }
            }
            Some((id, answer)) = asked.next(), if !asked.is_empty() => memory.learn(id, answer?),
            _ = resync.tick() => memory.begin(list(&engine, counts).await?),
        }
    }
}
