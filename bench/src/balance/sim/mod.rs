//! A deterministic simulator: unequal servers that share their time, clients that do not wait for
//! each other, every policy, and the real controller of `lb_userspace::load` between them.
//!
//! It shows what a control law can do when nothing else is in the way: no scheduler period, no
//! client that is late, no second core that is busy. Its figures are bounds for what real servers
//! show, and the same ones on every machine, so that a test may rely on them.
//!
//! It lives in the bench and not beside the law, because the daemon has no use for it. The
//! tests that need it are here, too (`tests`): what they test is the law.

mod outcome;
mod policy;
pub(crate) mod random;
mod scenario;
mod server;
mod signals;
mod world;

pub(crate) use outcome::{Outcome, Trace, distance, parts};
pub(crate) use policy::Policy;
#[cfg(test)]
pub(crate) use scenario::Kind;
pub(crate) use scenario::{Change, SPEEDS, Scenario, ServerSpec};
pub(crate) use world::simulate;
