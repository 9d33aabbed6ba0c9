//! Questions to the engine over its socket.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bollard::{
    API_DEFAULT_VERSION, ClientVersion, Docker,
    errors::Error as ApiError,
    models::{ContainerInspectResponse, EventMessage, NetworkInspect},
    query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder},
};
use futures_util::Stream;
use tokio::net::UnixStream;

use super::{
    inspected::{Inspected, NetworkKind},
    read,
};

/// How long an answer may take, in seconds.
const ANSWER_SECONDS: u64 = 10;
/// The oldest interface that tells of health checks.
const API_MIN: ClientVersion = ClientVersion { major_version: 1, minor_version: 24 };
const GONE: u16 = 404;
/// The bridge by which containers of overlay networks reach everybody else, and are reached.
const OVERLAY_BRIDGE: &str = "docker_gwbridge";
/// The overlay network of Swarm's own balancer.
const INGRESS: &str = "ingress";

/// Why the engine does not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such socket.
    #[error("no Docker engine at {}: there is no such socket", .0.display())]
    NoSocket(PathBuf),
    /// It is somebody else's.
    #[error("permission denied at {}: the engine's socket is for root and its group", .0.display())]
    Permission(PathBuf),
    /// Nobody listens.
    #[error("nobody listens at {}: does the Docker engine run?", .0.display())]
    NotRunning(PathBuf),
    /// The kernel refuses for another reason.
    #[error("cannot connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It speaks an interface of long ago.
    #[error("the engine at {} is too old: it speaks API {found}, and {needed} is needed", path.display())]
    TooOld {
        /// The socket.
        path: PathBuf,
        /// What it speaks.
        found: String,
        /// The oldest that is understood.
        needed: String,
    },
    /// It does not answer as an engine does.
    #[error("no answer to {question} from the Docker engine at {}: {source}", path.display())]
    Api {
        /// What was asked.
        question: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: ApiError,
    },
    /// The stream of events ended.
    #[error("the Docker engine at {} ended the connection", .0.display())]
    Ended(PathBuf),
}

/// A connection to an engine.
#[derive(Debug)]
pub(super) struct Engine {
    path: PathBuf,
    api: Docker,
    /// What the networks are, by id.
    kinds: Mutex<BTreeMap<String, NetworkKind>>,
}

impl Engine {
    pub(super) async fn connect(path: &Path) -> Result<Self, EngineError> {
        Self::patient(path, ANSWER_SECONDS).await
    }

    /// A connection whose answers may take so long.
    pub(super) async fn patient(path: &Path, seconds: u64) -> Result<Self, EngineError> {
        // The library does not tell why there is no connection.
        let stream = UnixStream::connect(path).await.map_err(|source| refused(path, source))?;
        drop(stream);
        let text = path.display().to_string();
        let api = Docker::connect_with_unix(&text, seconds, API_DEFAULT_VERSION)
            .map_err(|source| failed(path, "connect", source))?;
        let api =
            api.negotiate_version().await.map_err(|source| failed(path, "/version", source))?;
        let spoken = api.client_version();
        if spoken < API_MIN {
            let (path, needed) = (path.to_owned(), API_MIN.to_string());
            return Err(EngineError::TooOld { path, found: spoken.to_string(), needed });
        }
        Ok(Self { path: path.to_owned(), api, kinds: Mutex::default() })
    }

    /// The interface that is spoken.
    pub(super) fn version(&self) -> String {
        self.api.client_version().to_string()
    }

    /// The events from this moment on.
    pub(super) fn events(
        &self,
    ) -> impl Stream<Item = Result<EventMessage, EngineError>> + Unpin + use<> {
        use futures_util::TryStreamExt as _;
        // The stream is asked for later than the list, and must not miss what is between them.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        let types = [("type", vec!["container", "network"])].into();
        let options = EventsOptionsBuilder::new().since(&since).filters(&types).build();
        let path = self.path.clone();
        Box::pin(self.api.events(Some(options)))
            .map_err(move |source| failed(&path, "/events", source))
    }

    /// The ids of all containers, also of those that do not run.
    pub(super) async fn list(&self) -> Result<Vec<String>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let listed = self.api.list_containers(Some(options)).await;
        let listed = listed.map_err(|source| failed(&self.path, "/containers/json", source))?;
        Ok(listed.into_iter().filter_map(|container| container.id).collect())
    }

    /// A container; `None` if it is gone.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<Inspected>, EngineError> {
        let Some(raw) = self.raw(id).await? else { return Ok(None) };
        let networks = read::networks(&raw);
        let Some((mut container, pid)) = read::inspected(raw) else { return Ok(None) };
        // It may have ended, and another pid namespace may hide it.
        let namespace = pid.and_then(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).ok());
        container.pid = pid.filter(|_| namespace.is_some()).and_then(|pid| pid.try_into().ok());
        container.netns = namespace.map(|namespace| namespace.ino());
        for (name, network) in networks {
            self.look_into(&mut container, &name, &network).await?;
        }
        Ok(Some(container))
    }

    /// All that the engine says of a container, by id or name; `None` if it is gone.
    pub(super) async fn raw(
        &self,
        container: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        match self.api.inspect_container(container, None).await {
            Err(ApiError::DockerResponseServerError { status_code: GONE, .. }) => Ok(None),
            answer => {
                answer.map(Some).map_err(|source| failed(&self.path, "/containers/ID/json", source))
            }
        }
    }

    /// The whole interface, for what is done to containers.
    pub(super) const fn api(&self) -> &Docker {
        &self.api
    }

    /// Takes down what a network of a container is.
    async fn look_into(
        &self,
        container: &mut Inspected,
        name: &str,
        network: &str,
    ) -> Result<(), EngineError> {
        let kind = self.kind(network).await?;
        if name == INGRESS && kind == NetworkKind::Overlay {
            container.networks.remove(name);
            return Ok(());
        }
        let Some(addresses) = container.networks.get_mut(name) else { return Ok(()) };
        addresses.kind = kind;
        if kind == NetworkKind::Overlay && !addresses.is_empty() {
            let bridge = self.network(OVERLAY_BRIDGE).await?;
            let member = bridge.map(|bridge| read::member(&bridge, &container.id));
            *addresses = member.unwrap_or_default();
        }
        Ok(())
    }

    /// What a network is. Its driver never changes.
    async fn kind(&self, network: &str) -> Result<NetworkKind, EngineError> {
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(network).copied();
        if let Some(kind) = known {
            return Ok(kind);
        }
        let driver = self.network(network).await?.and_then(|network| network.driver);
        let Some(driver) = driver else { return Ok(NetworkKind::default()) };
        let kind = NetworkKind::of(&driver);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.insert(network.to_owned(), kind);
        Ok(kind)
    }

    /// A network; `None` if there is none of that name or id.
    async fn network(&self, network: &str) -> Result<Option<NetworkInspect>, EngineError> {
        match self.api.inspect_network(network, None).await {
            Err(ApiError::DockerResponseServerError { status_code: GONE, .. }) => Ok(None),
            answer => answer.map(Some).map_err(|error| failed(&self.path, "/networks/ID", error)),
        }
    }

    pub(super) fn ended(&self) -> EngineError {
        EngineError::Ended(self.path.clone())
    }
}

fn refused(path: &Path, source: io::Error) -> EngineError {
    let path = path.to_owned();
    let kind = source.kind();
    if kind == io::ErrorKind::NotFound {
        EngineError::NoSocket(path)
    } else if kind == io::ErrorKind::PermissionDenied {
        EngineError::Permission(path)
    } else if kind == io::ErrorKind::ConnectionRefused {
        EngineError::NotRunning(path)
    } else {
        EngineError::Connect { path, source }
    }
}

fn failed(path: &Path, question: &'static str, source: ApiError) -> EngineError {
    EngineError::Api { question, path: path.to_owned(), source }
}
