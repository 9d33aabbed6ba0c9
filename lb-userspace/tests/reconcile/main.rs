//! The reconciler from desired states to map contents: golden scenarios, a fault at every write,
//! random histories.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests end tests")]

mod changes;
mod faults;
mod histories;
mod refusals;
mod scenarios;
mod script;
mod watched;
mod world;
