//! Questions to the engine over its socket.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
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
    tls::Tls,
};
use crate::{
    model::{DockerHost, EngineAddress, Home, TlsAddress},
    placement::Amounts,
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
    #[error("no Docker engine at {0}: there is no such socket")]
    NoSocket(String),
    /// It is somebody else's.
    #[error("permission denied at {0}: the engine's socket is for root and its group")]
    Permission(String),
    /// Nobody listens.
    #[error("nobody listens at {0}: does the Docker engine run?")]
    NotRunning(String),
    /// The kernel refuses for another reason.
    #[error("cannot connect to {at}: {source}")]
    Connect {
        /// The engine's address.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("certificates for the engine at {at}: {why}")]
    Certificates {
        /// The engine's address.
        at: String,
        /// The file, and what is wrong with it.
        why: String,
    },
    /// It speaks an interface of long ago.
    #[error("the engine at {at} is too old: it speaks API {found}, and {needed} is needed")]
    TooOld {
        /// The engine's address.
        at: String,
        /// What it speaks.
        found: String,
        /// The oldest that is understood.
        needed: String,
    },
    /// It does not answer as an engine does.
    #[error("no answer to {question} from the Docker engine at {at}: {source}")]
    Api {
        /// What was asked.
        question: &'static str,
        /// The engine's address.
        at: String,
        /// Why.
        source: ApiError,
    },
    /// The stream of events ended.
    #[error("the Docker engine at {0} ended the connection")]
    Ended(String),
}

/// A connection to an engine.
#[derive(Debug)]
pub(super) struct Engine {
    at: String,
    api: Docker,
    home: Option<Home>,
    /// What the networks are, by id.
    kinds: Mutex<BTreeMap<String, NetworkKind>>,
}

impl Engine {
    pub(super) async fn connect(host: &DockerHost) -> Result<Self, EngineError> {
        Self::patient(host, ANSWER_SECONDS).await
    }

    /// A connection whose answers may take so long.
    pub(super) async fn patient(host: &DockerHost, seconds: u64) -> Result<Self, EngineError> {
        let at = host.engine.to_string();
        let api = match &host.engine {
            EngineAddress::Unix(path) => over_socket(path, &at, seconds).await?,
            EngineAddress::Tls(tls) => over_tls(tls, &at, seconds).await?,
        };
        let api =
            api.negotiate_version().await.map_err(|source| failed(&at, "/version", source))?;
        let spoken = api.client_version();
        if spoken < API_MIN {
            let (found, needed) = (spoken.to_string(), API_MIN.to_string());
            return Err(EngineError::TooOld { at, found, needed });
        }
        Ok(Self { at, api, home: host.home(), kinds: Mutex::default() })
    }

    /// Processor and memory of its host.
    pub(super) async fn machine(&self) -> Result<Amounts, EngineError> {
        let info = self.api.info().await.map_err(|source| failed(&self.at, "/info", source))?;
        let amount =
            |number: Option<i64>| number.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
        Ok([amount(info.ncpu).saturating_mul(1000), amount(info.mem_total), 0, 0])
    }

    /// Whether there is an image of this id or name.
    pub(super) async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        match self.api.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(ApiError::DockerResponseServerError { status_code: GONE, .. }) => Ok(false),
            Err(source) => Err(failed(&self.at, "/images/NAME/json", source)),
        }
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
        let at = self.at.clone();
        Box::pin(self.api.events(Some(options)))
            .map_err(move |source| failed(&at, "/events", source))
    }

    /// The ids of all containers, also of those that do not run.
    pub(super) async fn list(&self) -> Result<Vec<String>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let listed = self.api.list_containers(Some(options)).await;
        let listed = listed.map_err(|source| failed(&self.at, "/containers/json", source))?;
        Ok(listed.into_iter().filter_map(|container| container.id).collect())
    }

    /// A container; `None` if it is gone.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<Inspected>, EngineError> {
        let Some(raw) = self.raw(id).await? else { return Ok(None) };
        let networks = read::networks(&raw);
        let Some((mut container, pid)) = read::inspected(raw) else { return Ok(None) };
        container.settle(self.home.clone());
        // Neither processes nor networks of another host are here.
        if self.home.is_some() {
            return Ok(Some(container));
        }
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
                answer.map(Some).map_err(|source| failed(&self.at, "/containers/ID/json", source))
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
            answer => answer.map(Some).map_err(|error| failed(&self.at, "/networks/ID", error)),
        }
    }

    pub(super) fn ended(&self) -> EngineError {
        EngineError::Ended(self.at.clone())
    }
}

async fn over_socket(path: &Path, at: &str, seconds: u64) -> Result<Docker, EngineError> {
    // The library does not tell why there is no connection.
    let stream = UnixStream::connect(path).await.map_err(|source| refused(at, source))?;
    drop(stream);
    Docker::connect_with_unix(&path.display().to_string(), seconds, API_DEFAULT_VERSION)
        .map_err(|source| failed(at, "connect", source))
}

async fn over_tls(to: &TlsAddress, at: &str, seconds: u64) -> Result<Docker, EngineError> {
    let wrong = |why: String| EngineError::Certificates { at: at.to_owned(), why };
    let tls = Tls::open(to).map_err(|error| wrong(error.to_string()))?;
    let connected = tls.connect().await;
    drop(connected.map_err(|source| EngineError::Connect { at: at.to_owned(), source })?);
    let ask = move |request| tls.clone().ask(request);
    Docker::connect_with_custom_transport(ask, Some("http://docker"), seconds, API_DEFAULT_VERSION)
        .map_err(|source| failed(at, "connect", source))
}

fn refused(at: &str, source: io::Error) -> EngineError {
    let at = at.to_owned();
    let kind = source.kind();
    if kind == io::ErrorKind::NotFound {
        EngineError::NoSocket(at)
    } else if kind == io::ErrorKind::PermissionDenied {
        EngineError::Permission(at)
    } else if kind == io::ErrorKind::ConnectionRefused {
        EngineError::NotRunning(at)
    } else {
        EngineError::Connect { at, source }
    }
}

fn failed(at: &str, question: &'static str, source: ApiError) -> EngineError {
    EngineError::Api { question, at: at.to_owned(), source }
}
