//! Containers as backends: the engine's list of containers is the truth, its events are hints that
//! the list has changed.
//!
//! `services_of` decides everything and does no I/O: from containers and a configuration it makes
//! services, and a verdict with its reasons for each container.

mod admit;
mod bindings;
mod candidate;
mod define;
mod discover;
mod elsewhere;
mod engine;
mod follow;
mod inspected;
mod leases;
mod memory;
mod published;
mod reach;
mod read;
mod replicas;
mod report;
mod resolve;
mod room;
mod template;
mod tls;
mod verdict;

pub use discover::{Discovered, Finding, Provided, services_of};
pub use elsewhere::served;
pub use engine::EngineError;
pub use follow::{Counts, Follower, Link, View, containers};
pub use inspected::{
    Addresses, Binding, DockerHealth, Inspected, NetworkKind, NetworkMode, Open, State,
};
pub use leases::{LeaseError, Leases};
pub use replicas::{Order, ReplicaError, create, remove};
pub use report::{HostView, report};
pub use resolve::Host;
pub use room::{Making, NoRoom, Rooms};
pub use template::{REPLICA_LABEL, TemplateError};
pub use verdict::{Held, Ignored, Refusal, Verdict};

#[cfg(test)]
mod tests;
