//! Containers that are made after a template, and taken away.

use bollard::{
    errors::Error as ApiError,
    models::NetworkConnectRequest,
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};

use super::{
    engine::{Engine, EngineError},
    template::{self, Clone, TemplateError},
};
use crate::model::{DockerHost, Protocol, Reach};

/// How long the engine may take for one thing: stopping takes the container's own grace period.
const ANSWER_SECONDS: u64 = 600;
/// It has stopped already; it is gone; it is being taken away.
const UNCHANGED: u16 = 304;
const GONE: u16 = 404;
const UNDER_WAY: u16 = 409;

/// Why there is no further replica, or still one.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What the template was made of is not on the host.
    #[error(
        "host {host} has not the very image of the template, {image} ({id}): pull it there, or `docker save` and `docker load` it"
    )]
    NoImage {
        /// The host.
        host: String,
        /// What the template calls it.
        image: String,
        /// The image.
        id: String,
    },
    /// The engine refuses.
    #[error("the engine does not {what} {name}: {source}")]
    Refused {
        /// What it should do.
        what: &'static str,
        /// The container.
        name: String,
        /// What it says.
        source: ApiError,
    },
}

/// What is to be made, and where.
#[derive(Clone, Debug)]
pub struct Order {
    /// The host of the template.
    pub from: DockerHost,
    /// The host of the replica.
    pub to: DockerHost,
    /// The id or name of the template.
    pub template: String,
    /// The service.
    pub service: String,
    /// What the replica is called.
    pub name: String,
    /// The ports that it serves at.
    pub ports: Vec<(u16, Protocol)>,
}

/// Makes a container after a template, and starts it. Returns its id. What cannot be started is not
/// left behind.
pub async fn create(order: &Order) -> Result<String, ReplicaError> {
    let Order { from, to, template, service, name, ports } = order;
    let raw = Engine::patient(from, ANSWER_SECONDS).await?.raw(template).await?;
    let raw = raw.ok_or_else(|| TemplateError::Gone(template.clone()))?;
    let called = raw.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default();
    let Clone { mut body, networks } = template::clone_of(raw, service)?;
    let engine = Engine::patient(to, ANSWER_SECONDS).await?;
    if from.engine != to.engine {
        let id = body.image.clone().unwrap_or_default();
        if !engine.has_image(&id).await? {
            return Err(ReplicaError::NoImage { host: to.name.clone(), image: called, id });
        }
    }
    if let Some(Reach::Published(address)) = to.reach {
        template::publish(&mut body, ports, address);
    }
    let refused = |what| move |source| ReplicaError::Refused { what, name: name.clone(), source };
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let created = engine.api().create_container(Some(options), body).await;
    let id = created.map_err(refused("make"))?.id;
    let result = async {
        for (network, end) in networks {
            let request =
                NetworkConnectRequest { container: id.clone(), endpoint_config: Some(end) };
            engine.api().connect_network(&network, request).await.map_err(refused("connect"))?;
        }
        engine.api().start_container(&id, None).await.map_err(refused("start"))
    };
    if let Err(error) = result.await {
        // The first error is the one to tell.
        drop(take_away(&engine, &id, name).await);
        return Err(error);
    }
    Ok(id)
}

/// Stops a container as it wants to be stopped, and takes it away with its anonymous volumes.
pub async fn remove(host: &DockerHost, id: &str, name: &str) -> Result<(), ReplicaError> {
    let engine = Engine::patient(host, ANSWER_SECONDS).await?;
    match engine.api().stop_container(id, None).await {
        Err(error) if status(&error).is_none_or(|code| ![UNCHANGED, GONE].contains(&code)) => {
            return Err(ReplicaError::Refused {
                what: "stop",
                name: name.to_owned(),
                source: error,
            });
        }
        Ok(()) | Err(_) => {}
    }
    take_away(&engine, id, name).await
}

async fn take_away(engine: &Engine, id: &str, name: &str) -> Result<(), ReplicaError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match engine.api().remove_container(id, Some(options)).await {
        Err(error) if status(&error).is_none_or(|code| ![UNDER_WAY, GONE].contains(&code)) => {
            Err(ReplicaError::Refused { what: "remove", name: name.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

const fn status(error: &ApiError) -> Option<u16> {
    if let ApiError::DockerResponseServerError { status_code, .. } = error {
        Some(*status_code)
    } else {
        None
    }
}
