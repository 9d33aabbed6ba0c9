//! From the raw types to a configuration: every value that breaks a rule is reported.
//!
//! After a mistake the work goes on with a default in the place of the value; such a configuration
//! is thrown away. What is only wrong because something else is, is not reported.

pub(super) mod backends;
mod docker;
pub(super) mod health;
mod host;
mod hosts;
pub(super) mod listens;
pub(super) mod report;
pub(super) mod scale;
mod service;
mod totals;
mod tunnel;

pub use docker::DOCKER_SOCKET_DEFAULT;
pub use host::{ADMIN_HTTP_DEFAULT, ADMIN_SOCKET_DEFAULT, DRAIN_DEFAULT};

use super::{
    Loaded,
    error::{Mistake, Place, Report},
    raw::RawConfig,
    scalar,
};
use crate::model::{Attach, Config, HostClients, Ping, PortRange, Unserved};

/// Validates all of it. The result counts only if nothing was reported.
pub(super) fn validate(raw: &RawConfig, report: &mut Report) -> Loaded {
    // Half a file must not take all services away.
    let start = Place { line: 1, column: 1, width: 1 };
    raw.services.required(report, start, || {
        Mistake::new("there are no `services`").hint("`services: []` balances nothing")
    });
    let interfaces = host::interfaces(&raw.interfaces, report);
    let attach = raw.attach.parse_or(report, scalar::attach, Attach::Auto).unwrap_or_default();
    let host_clients = raw.host_clients.parse_or(report, scalar::host_clients, HostClients::Auto);
    let host_clients = host_clients.unwrap_or_default();
    let unserved = raw.unserved.parse_or(report, scalar::unserved, Unserved::Reset);
    let unserved = unserved.unwrap_or_default();
    let ping = raw.ping.parse_or(report, scalar::ping, Ping::Answer).unwrap_or_default();
    let admin = host::admin(&raw.admin, report);
    let timeouts = host::timeouts(&raw.timeouts, report);
    let limits = host::limits(&raw.limits, report);
    let hairpin = host::hairpin(&raw.hairpin, report);
    let tunnel = tunnel::tunnel(&raw.tunnel, report);
    let source_ports = raw.source_ports.parse_or(report, host::source_ports, PortRange::SOURCES);
    let source_ports = source_ports.unwrap_or(PortRange::SOURCES);
    let drain = raw.drain.parse_or(report, scalar::duration, DRAIN_DEFAULT);

    let services = service::services(&raw.services, report);
    listens::without_overlap(&services, report);
    backends::without_loops(&services, report);
    backends::of_one_cgroup(&services, report);
    totals::within(&limits, &services, report);
    let docker = docker::docker(&raw.docker, &raw.hosts, &services, &admin, report);
    let services = services.into_iter().filter_map(service::Checked::into_service).collect();
    let drain = drain.unwrap_or(DRAIN_DEFAULT);
    let config = Config {
        interfaces,
        attach,
        host_clients,
        unserved,
        ping,
        services,
        admin,
        timeouts,
        limits,
        hairpin,
        tunnel,
        source_ports,
        drain,
    };
    Loaded { config, docker }
}
