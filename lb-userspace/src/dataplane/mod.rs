//! The kernel side as the daemon holds it: load, attach, read, let go.

pub mod attach;
pub mod clock;
pub mod counters;
pub mod decap;
pub mod flows;
pub mod host;
pub mod links;
pub mod loader;
mod namespace;
pub mod pins;
pub mod signals;
pub mod sockets;
pub mod testrun;

pub use attach::{AttachError, Hook};
pub use loader::{Dataplane, LoadError, LoadOptions};
pub use sockets::SocketsError;
