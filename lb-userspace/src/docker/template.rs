//! From a container to another one like it. No I/O.

use std::{collections::HashMap, net::IpAddr};

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings,
    NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use super::inspected::NetworkMode;
use crate::model::Protocol;

/// The label of what was made after a template; its value is the service. It does not begin with
/// `weir.`, whose labels are about balancing.
pub const REPLICA_LABEL: &str = "io.weir.replica-of";

/// Compose would take a container with these for one of its own, and stop it. The name of the
/// service stays: labels choose containers by it.
const COMPOSE: &str = "com.docker.compose.";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// The network that is meant where none is named.
const BRIDGE: &str = "bridge";
/// Characters of an id that stand for it.
const SHORT: usize = 12;

/// Why a container cannot be a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is none.
    #[error("there is no container {0} to make replicas after")]
    Gone(String),
    /// What the engine says of it is not whole.
    #[error("the engine does not say how container {0} was made")]
    Unknown(String),
    /// All replicas would want the same ports, or share one stack.
    #[error("container {name} has network mode {mode}: replicas need networks of their own")]
    Mode {
        /// The container.
        name: String,
        /// Its mode.
        mode: String,
    },
}

/// A container that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clone {
    pub(super) body: ContainerCreateBody,
    /// Further networks; engines of old take one at the creation.
    pub(super) networks: Vec<(String, EndpointSettings)>,
}

/// A container like this one for a service: the same image, command, environment, labels, limits,
/// mounts and networks; addresses, names and ports of the host are its own.
pub(super) fn clone_of(
    template: ContainerInspectResponse,
    service: &str,
) -> Result<Clone, TemplateError> {
    let name = template.name.unwrap_or_default().trim_start_matches('/').to_owned();
    let unknown = || TemplateError::Unknown(name.clone());
    let config = template.config.ok_or_else(unknown)?;
    let mut host = template.host_config.ok_or_else(unknown)?;
    let mode = host.network_mode.clone().unwrap_or_default();
    if NetworkMode::of(&mode) != NetworkMode::Networks {
        return Err(TemplateError::Mode { name, mode });
    }
    let id = template.id.unwrap_or_default();
    let settings = template.network_settings.unwrap_or_default();
    let mut networks: Vec<_> = settings
        .networks
        .unwrap_or_default()
        .into_iter()
        .map(|(network, end)| {
            let end = endpoint(&network, end, &id);
            (network, end)
        })
        .collect();
    networks.sort_by(|(one, _), (other, _)| one.cmp(other));
    let first = if matches!(mode.as_str(), "" | "default") { BRIDGE } else { &mode };
    let at = networks.iter().position(|(network, _)| network == first);
    let first = at.map(|at| networks.remove(at));
    (host.port_bindings, host.publish_all_ports) = (None, Some(false));
    (host.auto_remove, host.container_id_file) = (Some(false), None);
    // What ends is looked at, taken away and made anew, after a pause.
    host.restart_policy =
        Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None });
    // The name of an image may stand for another one meanwhile.
    let image = template.image.or_else(|| config.image.clone());
    let mut body = body(config, service);
    (body.image, body.host_config) = (image, Some(host));
    body.networking_config =
        first.map(|first| NetworkingConfig { endpoints_config: Some(HashMap::from([first])) });
    Ok(Clone { body, networks })
}

/// Has the engine publish ports at an address, each at a port of the host that is free.
pub(super) fn publish(body: &mut ContainerCreateBody, ports: &[(u16, Protocol)], address: IpAddr) {
    let any = PortBinding { host_ip: Some(address.to_string()), host_port: None };
    let names: Vec<String> = ports.iter().map(|(port, it)| format!("{port}/{it}")).collect();
    let bindings = names.iter().map(|name| (name.clone(), Some(vec![any.clone()]))).collect();
    let mut exposed = body.exposed_ports.take().unwrap_or_default();
    exposed
        .extend(names.iter().filter(|name| !exposed.contains(name)).cloned().collect::<Vec<_>>());
    body.exposed_ports = Some(exposed);
    if let Some(host) = &mut body.host_config {
        host.port_bindings = Some(bindings);
    }
}

/// The container's end in a network, without what can be only one container's.
fn endpoint(network: &str, end: EndpointSettings, id: &str) -> EndpointSettings {
    let short = id.get(..SHORT).unwrap_or(id);
    let aliases = end
        .aliases
        .filter(|_| network != BRIDGE)
        .map(|aliases| aliases.into_iter().filter(|alias| alias != short).collect::<Vec<String>>());
    EndpointSettings {
        aliases: aliases.filter(|aliases| !aliases.is_empty()),
        links: end.links,
        driver_opts: end.driver_opts,
        ..EndpointSettings::default()
    }
}

/// The host name is left out: the engine gives each container its own.
fn body(config: ContainerConfig, service: &str) -> ContainerCreateBody {
    let kept = |label: &String| !label.starts_with(COMPOSE) || label == COMPOSE_SERVICE;
    let mut labels: HashMap<String, String> = config.labels.unwrap_or_default();
    labels.retain(|label, _| kept(label));
    labels.insert(REPLICA_LABEL.to_owned(), service.to_owned());
    ContainerCreateBody {
        domainname: config.domainname,
        user: config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: config.exposed_ports,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        labels: Some(labels),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        shell: config.shell,
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an engine of API 1.41 says of a container, shortened.
    const TEMPLATE: &str = r#"{
        "Id": "4fa6e0f0c678aaaa", "Name": "/web-1", "Image": "sha256:1234",
        "HostConfig": { "NetworkMode": "MODE", "PublishAllPorts": true, "AutoRemove": true,
            "PortBindings": { "80/tcp": [ { "HostIp": "", "HostPort": "8080" } ] },
            "RestartPolicy": { "Name": "always" }, "NanoCpus": 500000000, "Memory": 1048576,
            "Binds": [ "/srv:/srv:ro" ] },
        "Config": { "Image": "web:latest", "Hostname": "web-1", "Env": [ "A=1" ],
            "Cmd": [ "serve" ], "Entrypoint": [ "/bin/web" ], "ExposedPorts": { "80/tcp": {} },
            "Labels": { "app": "web", "com.docker.compose.project": "shop",
                "com.docker.compose.service": "web" }, "StopSignal": "SIGQUIT" },
        "NetworkSettings": { "Networks": {
            "front": { "IPAddress": "198.18.144.2", "MacAddress": "02:42:00:00:00:02",
                "IPAMConfig": { "IPv4Address": "198.18.144.2" },
                "Aliases": [ "web", "4fa6e0f0c678" ] },
            "bridge": { "IPAddress": "198.18.128.2", "Aliases": [ "no" ] },
            "back": { "IPAddress": "198.18.145.2", "Aliases": [ "4fa6e0f0c678" ] } } }
    }"#;

    fn cloned(mode: &str) -> Result<Clone, TemplateError> {
        clone_of(serde_json::from_str(&TEMPLATE.replace("MODE", mode)).unwrap(), "shop")
    }

    #[test]
    fn what_makes_a_replica_is_kept_and_what_is_one_container_s_is_not() {
        let Clone { body, networks } = cloned("front").unwrap();
        assert_eq!(body.image.as_deref(), Some("sha256:1234"));
        assert_eq!((body.env, body.cmd), (Some(vec!["A=1".into()]), Some(vec!["serve".into()])));
        assert_eq!(body.entrypoint, Some(vec!["/bin/web".into()]));
        assert_eq!((body.hostname, body.stop_signal.as_deref()), (None, Some("SIGQUIT")));
        let host = body.host_config.unwrap();
        assert_eq!((host.nano_cpus, host.memory), (Some(500_000_000), Some(1_048_576)));
        assert_eq!(host.binds, Some(vec!["/srv:/srv:ro".to_owned()]));
        assert_eq!((host.port_bindings, host.publish_all_ports), (None, Some(false)));
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
        assert_eq!(host.auto_remove, Some(false));
        let labels = body.labels.unwrap();
        let mut labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.sort();
        let kept = ["app=web", "com.docker.compose.service=web", "io.weir.replica-of=shop"];
        assert_eq!(labels, kept);
        let web = EndpointSettings { aliases: Some(vec!["web".into()]), ..<_>::default() };
        let first = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(first, HashMap::from([("front".to_owned(), web)]));
        let plain = EndpointSettings::default;
        assert_eq!(networks, [("back".to_owned(), plain()), ("bridge".to_owned(), plain())]);
    }

    #[test]
    fn the_network_that_nobody_named_is_the_bridge() {
        for mode in ["default", "bridge", ""] {
            let body = cloned(mode).unwrap().body;
            let first = body.networking_config.unwrap().endpoints_config.unwrap();
            assert!(first.contains_key("bridge") && first.len() == 1, "{mode}: {first:?}");
        }
    }

    #[test]
    fn what_shares_a_stack_or_has_none_is_no_template() {
        for mode in ["host", "none", "container:abc"] {
            let error = cloned(mode).unwrap_err().to_string();
            let said = format!("container web-1 has network mode {mode}: replicas need");
            assert!(error.starts_with(&said), "{error}");
        }
        let bare = ContainerInspectResponse { name: Some("/a".into()), ..<_>::default() };
        assert_eq!(clone_of(bare, "shop"), Err(TemplateError::Unknown("a".into())));
    }
}
