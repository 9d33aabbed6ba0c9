//! The shape of `weir.yaml`. The texts here are the manual; `docs/configuration.md` has them with
//! examples, and a test that no field is missing there.
//!
//! Every scalar is text as it was written: validation parses it, so that one bad value does not
//! hide another. Unknown fields are refused.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::field::{Field, List};

/// A scalar.
pub(super) type Text = Field<String>;

/// The whole configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "the configuration", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawConfig {
    /// Interfaces that clients arrive on: `auto`, those of the default routes, or a list of names.
    /// Default: `auto`.
    pub(super) interfaces: Field<OneOrMany>,
    /// Hook of these interfaces: `auto`, `xdp`, `xdp-generic` or `tc`. Default: `auto`.
    pub(super) attach: Text,
    /// Clients that are processes of this host: `auto`, all of them if there is a cgroup2
    /// hierarchy; `off`; or a directory of that hierarchy, for those below it. Default: `auto`.
    pub(super) host_clients: Text,
    /// What becomes of TCP connections that nobody can serve: `reset` or `drop`. Default: `reset`.
    pub(super) unserved: Text,
    /// What is balanced. Required; `[]` balances nothing.
    pub(super) services: List<RawService>,
    /// The daemon's own doors.
    pub(super) admin: Field<RawAdmin>,
    /// How long idle flows are remembered.
    pub(super) timeouts: Field<RawTimeouts>,
    /// Sizes of the dataplane's tables, fixed while it is loaded.
    pub(super) limits: Field<RawLimits>,
    /// Sources of a backend's packets to itself through its own VIP.
    pub(super) hairpin: Field<RawHairpin>,
    /// The outer side of tunnels to backends.
    pub(super) tunnel: Field<RawTunnel>,
    /// How long a backend that was removed keeps its flows. Default: `5m`.
    pub(super) drain: Text,
    /// Containers as backends. Default: not followed, unless a service asks for them.
    pub(super) docker: Field<RawDocker>,
}

/// A service.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "a service", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawService {
    /// Unique name: 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit. Required.
    pub(super) name: Text,
    /// What clients dial: `address:port`, `address:first-last`, with `/tcp` or `/udp` after it.
    /// Default protocol: `tcp`. All of one service have one protocol. Required, not empty.
    pub(super) listen: List<String>,
    /// How the backend of a new flow is chosen. Default: `adaptive`.
    pub(super) policy: Text,
    /// How packets reach the backends: `nat`, `dsr`, `ipip` or `gue`. Default: `nat`.
    pub(super) forward: Text,
    /// Active health check. Default: none, every backend counts as healthy.
    pub(super) health: Field<RawHealth>,
    /// Clients that keep their backend. Default: none.
    pub(super) affinity: Field<RawAffinity>,
    /// Who may connect. Default: everybody.
    pub(super) sources: Field<RawSources>,
    /// Who serves. Default: nobody.
    pub(super) backends: List<RawBackend>,
    /// Containers that serve, too. Default: those that name the service in their labels.
    pub(super) docker: Field<RawSelector>,
}

/// A health check: either `tcp` or `http`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "a health check", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawHealth {
    /// `true`: a connection has to open.
    pub(super) tcp: Text,
    /// Path of a `GET` that has to be answered with 2xx or 3xx.
    pub(super) http: Text,
    /// Time between probes. Default: `2s`.
    pub(super) interval: Text,
    /// Time until a probe has failed, at most the interval. Default: `1s`, or the interval if that
    /// is shorter.
    pub(super) timeout: Text,
    /// Successes in a row that bring a backend back, 1 to 100. Default: 2.
    pub(super) rise: Text,
    /// Failures in a row that take a backend out, 1 to 100. Default: 3.
    pub(super) fall: Text,
    /// Port to probe. Default: the backend's. Required where that is none or speaks UDP.
    pub(super) port: Text,
    /// `try` or `refuse`: what to do when all backends fail. Default: `try`.
    pub(super) all_down: Text,
}

/// Affinity.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "an affinity", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawAffinity {
    /// How long a client address keeps its backend after its last new flow. Required.
    pub(super) client_ip: Text,
}

/// Sources.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "the sources", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawSources {
    /// Networks, `address/length`, that may connect; nobody else may. Required, not empty.
    pub(super) allow: List<String>,
}

/// A backend.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "a backend", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawBackend {
    /// `address:port`; without a port behind port ranges only, the destination port is kept then.
    /// Required.
    pub(super) address: Text,
    /// Share of the new flows relative to the other backends, 0 to 1000; 0 takes none. Default: 1.
    pub(super) weight: Text,
}

/// Containers of a service.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "the containers", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawSelector {
    /// The label that they have: `name=value`, or `name` with any value. Required.
    pub(super) label: Text,
    /// Port that they serve on. Default: their label `weir.port`, or the only port that the image
    /// exposes; behind port ranges only, the destination port is kept.
    pub(super) port: Text,
    /// Docker network that they are reached through. Default: their label `weir.network`, or the
    /// only one that they are in.
    pub(super) network: Text,
}

/// Docker.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "docker", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawDocker {
    /// `false`: containers are not followed. Default: `true`.
    pub(super) enable: Text,
    /// Absolute path of the engine's Unix socket. Default: `/var/run/docker.sock`.
    pub(super) socket: Text,
    /// Ports of the host for containers that name none, `first-last`. Default: `49153-65535`.
    pub(super) ports: Text,
    /// Absolute path of the file that remembers who has which of them. Default: `ports.json` beside
    /// the admin socket.
    pub(super) state: Text,
}

/// Admin.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "admin", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawAdmin {
    /// Absolute path of the Unix socket of the command line. Default: `/run/weir/weir.sock`.
    pub(super) socket: Text,
    /// Loopback address and port of metrics and health over HTTP, or `false`.
    /// Default: `127.0.0.1:9090`.
    pub(super) http: Text,
}

/// Timeouts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "timeouts", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawTimeouts {
    /// TCP before its handshake ends. Default: `30s`.
    pub(super) tcp_new: Text,
    /// Established TCP. Default: `2h`.
    pub(super) tcp_established: Text,
    /// TCP after one FIN. Default: `2m`.
    pub(super) tcp_half_closed: Text,
    /// TCP after both FINs. Default: `10s`.
    pub(super) tcp_closed: Text,
    /// UDP before an answer. Default: `30s`.
    pub(super) udp_new: Text,
    /// UDP after an answer. Default: `3m`.
    pub(super) udp_established: Text,
}

/// Limits, each 1 to 16777216.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "limits", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Flow entries of each address family; a flow has two. Default: 262144.
    pub(super) conns: Text,
    /// Entries of flows before their handshake ends. Default: 32768.
    pub(super) embryos: Text,
    /// Services. Default: 4096.
    pub(super) services: Text,
    /// Backends; one that several services share counts once. Default: 16384.
    pub(super) backends: Text,
    /// Pages of 1 KiB for the slot tables. Default: 8192.
    pub(super) pages: Text,
}

/// Hairpin.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "hairpin", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawHairpin {
    /// IPv4 address. Default: `192.0.0.8`.
    pub(super) v4: Text,
    /// IPv6 address. Default: `100::8`.
    pub(super) v6: Text,
}

/// Tunnels.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "tunnel", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawTunnel {
    /// Network of the sources over IPv4. Default: this host's address towards the backend.
    pub(super) v4: Text,
    /// Network of the sources over IPv6. Default: this host's address towards the backend.
    pub(super) v6: Text,
    /// Destination port of `gue`. Default: 6080.
    pub(super) gue_port: Text,
}

/// One word, or a list.
#[derive(Debug)]
pub(super) enum OneOrMany {
    /// One word.
    One(String),
    /// A list.
    Many(Vec<Text>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`auto` or a list of names")
    }

    fn visit_str<E>(self, word: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(word.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<OneOrMany, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany::Many)
    }
}
