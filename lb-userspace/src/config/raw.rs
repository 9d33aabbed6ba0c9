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
    /// What becomes of packets that nobody can serve: `reset`, their sender is told by a TCP reset or an ICMP
    /// port unreachable, or `drop`. Default: `reset`.
    pub(super) unserved: Text,
    /// What becomes of echo requests (ping) for VIPs: `answer` or `pass`. Default: `answer`.
    pub(super) ping: Text,
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
    /// Ports of this host that flows of `full-nat` come from, `first-last`. Default: `10000-32767`.
    pub(super) source_ports: Text,
    /// How long a backend that was removed keeps its flows. Default: `5m`.
    pub(super) drain: Text,
    /// Containers as backends. Default: not followed, unless a service asks for them.
    pub(super) docker: Field<RawDocker>,
    /// Hosts whose containers are backends as well. Default: this one alone.
    pub(super) hosts: List<RawHost>,
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
    /// How packets reach the backends: `nat`, `dsr`, `ipip`, `gue` or `full-nat`. Default: `nat`.
    pub(super) forward: Text,
    /// Active health check. Default: none, every backend counts as healthy.
    pub(super) health: Field<RawHealth>,
    /// Where backends tell their own load. Default: nowhere.
    pub(super) report: Field<RawReport>,
    /// Clients that keep their backend. Default: none.
    pub(super) affinity: Field<RawAffinity>,
    /// Who may connect. Default: everybody.
    pub(super) sources: Field<RawSources>,
    /// How many new flows it takes. Default: all.
    pub(super) limits: Field<RawFlowLimits>,
    /// Who serves. Default: nobody.
    pub(super) backends: List<RawBackend>,
    /// Containers that serve, too. Default: those that name the service in their labels.
    pub(super) docker: Field<RawSelector>,
    /// How many replicas there shall be, by load. Default: nobody asks.
    pub(super) scale: Field<RawScale>,
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

/// What backends tell of their load: either `agent` or `http`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "a report", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawReport {
    /// Port of an agent as `HAProxy` knows them: it says a line to who connects.
    pub(super) agent: Text,
    /// Path of a `GET` that is answered with an ORCA load report, in a header or as JSON.
    pub(super) http: Text,
    /// Port of that path. Default: the backend's. Required where that is none or speaks UDP.
    pub(super) port: Text,
    /// Time between questions, at most `3s`. Default: `1s`.
    pub(super) interval: Text,
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

/// Limits of new flows: at least one of the first two.
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename = "the limits of a service",
    rename_all = "kebab-case",
    default,
    deny_unknown_fields
)]
pub(super) struct RawFlowLimits {
    /// New flows a second, `N/s`. Default: no limit.
    pub(super) new_flows: Text,
    /// New flows a second of one source, `N/s`; over IPv6 a source is a network of 64 bits.
    /// Default: no limit.
    pub(super) per_source: Text,
    /// How long what was not used is saved up, at most `1h`. Default: `1s`.
    pub(super) burst: Text,
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
    /// Absolute path of the cgroup of its processes, if they run on this host. Default: a
    /// container's own, nobody's for others.
    pub(super) cgroup: Text,
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

/// Replicas of a service.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "the replicas", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawScale {
    /// Never fewer, 1 to 1000. Default: 1.
    pub(super) min: Text,
    /// Never more, `min` to 1000. Required.
    pub(super) max: Text,
    /// The part of its capacity that a replica should use, `1%` to `100%`. Default: `70%`.
    pub(super) target: Text,
    /// Changes of the load by less than this part change nothing, `0%` to `100%`. Default: `10%`.
    pub(super) tolerance: Text,
    /// What decides: `weir`, or `hpa`, the algorithm of Kubernetes. Default: `weir`.
    pub(super) algorithm: Text,
    /// How the load to come is guessed: `grey`, `holt` or `none`. Default: `grey`.
    pub(super) forecast: Text,
    /// Requests a second that a replica can take, 1 to 10000000; flows where the policy is not
    /// `adaptive`. Default: as live load shows. Required where the policy is not `adaptive`.
    pub(super) capacity: Text,
    /// The time of one value of the load and of one decision, `1s` to `5m`. Default: `15s`.
    pub(super) bucket: Text,
    /// The values a forecast is made of, 5 to 100. Default: 10.
    pub(super) window: Text,
    /// How long nine of ten replicas need until they answer. Default: as is seen, `1m` before.
    pub(super) start_time: Text,
    /// How long after that until a replica has its whole share. Default: `30s`.
    pub(super) warm_up: Text,
    /// Replicas go that were not wanted for so long. Default: `5m`.
    pub(super) down_window: Text,
    /// After a change no replica goes for so long. Default: `1m`.
    pub(super) cooldown: Text,
    /// Who starts and stops replicas: `advise`, somebody who reads the metrics; `command`, a
    /// program; `docker`, the daemon. Default: `advise`.
    pub(super) executor: Text,
    /// The program, an absolute path, and its arguments. Required with `executor: command`.
    pub(super) command: List<String>,
    /// How long it may take. Default: `30s`.
    pub(super) command_timeout: Text,
    /// The container that replicas are made after: its name, or a label, `name=value`. Default: the
    /// oldest container of the service that was not made so.
    pub(super) template: Text,
    /// `true`: it is only said what would be done. Default: `false`.
    pub(super) dry_run: Text,
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

/// A host with containers: this one if it has no `engine`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "a host", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawHost {
    /// Unique name: 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit. Required.
    pub(super) name: Text,
    /// Its engine: the absolute path of a Unix socket, or `tcp://host:port`. Default: that of
    /// `docker`, for this host itself.
    pub(super) engine: Text,
    /// Certificates for `tcp://`. Required there.
    pub(super) tls: Field<RawTls>,
    /// How its containers are reached: `published`, at ports of the host, or `routed`, at their own
    /// addresses. Default: `published`.
    pub(super) reach: Text,
    /// The address that its ports are published at. Required with `reach: published`.
    pub(super) address: Text,
    /// Cores that replicas may use. Default: those that the engine has.
    pub(super) cpus: Text,
    /// Memory that replicas may use. Default: that of the engine.
    pub(super) memory: Text,
    /// What fails together with it. Default: none.
    pub(super) zone: Text,
    /// What replicas may ask for, a list of `name=value`. Default: none.
    pub(super) labels: List<String>,
}

/// Certificates for an engine.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "the certificates", rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RawTls {
    /// Absolute path of the authority's certificate, which alone vouches for the engine. Required.
    pub(super) ca: Text,
    /// Absolute path of the certificate that is shown to the engine. Required.
    pub(super) cert: Text,
    /// Absolute path of its key. Required.
    pub(super) key: Text,
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
    /// Entries of flows before the client's second packet, of TCP and UDP each. Default: 32768.
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
