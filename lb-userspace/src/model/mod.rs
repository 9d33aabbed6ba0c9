//! The nouns of Weir. A value of these types is right by construction; `config` and `discovery`
//! make them, everything else uses them.

mod config;
mod endpoint;
mod health;
mod service;

pub use config::{Admin, Attach, Config, Hairpin, HostClients, Interfaces, Limits, Timeouts};
pub use endpoint::{Endpoint, Listen, PortRange, Protocol};
pub use health::{HealthCheck, Probe};
pub use service::{BackendSpec, Policy, Service, ServiceName, Weight};
