//! Active health checks: what a probe does, when its results count, who probes.

pub mod checker;
pub mod probe;
pub mod state;
