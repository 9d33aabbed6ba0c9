//! From the desired state to the maps: plan purely, execute stupidly.
//!
//! [`plan()`] compares what the maps should say with what they say and returns every write, in an
//! order in which no packet ever meets a half-done change, with the reason of each. [`execute()`]
//! performs the writes and makes no choices. Whatever goes wrong in between, the next plan starts
//! from what the maps say then.
//!
//! Invariants, after every single write:
//! * the table of every published service lies in pages that were written whole before, and that
//!   no other service uses;
//! * a published table names only backends that are present;
//! * what a service restricts (sources) is in place before the service says so;
//! * whatever is published passes the pre-filter.

mod backends;
mod changes;
pub mod desired;
mod execute;
mod ids;
mod keys;
mod layout;
mod observed;
mod pages;
mod plan;
mod ports;
mod services;
mod settings;
mod tables;

pub use changes::{Changes, Scope};
pub use desired::{BackendEntry, Desired, DesiredBackend, DesiredService, Link, Rates};
pub use execute::{ExecuteError, execute};
pub use observed::Observed;
pub use pages::{GRACE, Quarantine};
pub use plan::{Memory, Plan, PlanError, PlanInput, Stage, Step, Waiting, plan};
pub use tables::{BuiltTable, TableBackend, TableBuilder};
