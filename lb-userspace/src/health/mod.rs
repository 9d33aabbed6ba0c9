//! Active health checks: what a probe does, what its results mean, and who keeps probing.

mod checker;
mod probe;
mod state;

pub use checker::{Checker, Outcome};
pub use probe::{Probed, probe};
pub use state::HealthState;
