//! Active health checks: what a probe does, what its results mean, and who keeps probing.

mod checker;
mod probe;
mod state;

pub use checker::Checker;
pub use probe::probe;
pub use state::HealthState;
