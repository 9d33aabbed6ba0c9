//! The nouns of Weir. A value of these types is right by construction; `config` and `discovery`
//! make them, everything else uses them.

mod config;
mod docker;
mod endpoint;
mod health;
mod publish;
mod report;
mod scale;
mod service;
mod tunnel;

pub use config::{
    Admin, Attach, Config, Hairpin, HostClients, Interfaces, Limits, Ping, Timeouts, Unserved,
};
pub use docker::{Docker, DockerHost, EngineAddress, Home, LabelRule, Reach, Selector, TlsAddress};
pub use endpoint::{Endpoint, Listen, PortRange, Protocol};
pub use health::{AllDown, HealthCheck, Probe};
pub use publish::{HostPorts, Publish};
pub use report::{ReportBy, SelfReport};
pub use scale::{Algorithm, Executor, Forecast, Scale, Template};
pub use service::{BackendSpec, FlowLimits, Forward, Policy, Service, ServiceName, Weight};
pub use tunnel::Tunnel;
