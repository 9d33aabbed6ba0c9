//! Balancing by live load: what backends do now becomes what they get next.
//!
//! The dataplane chooses for every new flow, in nanoseconds, the backend with the smallest
//! `(turns in flight + ½) / capacity`. This folder finds the capacities, once a second: measured
//! figures ([`sample`]) become averages (`smooth`), averages say what limits a backend
//! (`classify`), and what it serves divided by how busy that makes it is its capacity
//! (`weigh`), behind guards against everything that is not so (`track`, `outlier`). The [`Controller`]
//! is one tick of all that for one service. `shares` is for policies that hash, `classic` what
//! others do, to compare with. docs/balancing.md has the formulas and where they are from.
//!
//! All of it is pure: time is an argument, and so is everything measured.

pub mod host;
pub mod measure;
pub mod report;
pub mod sample;
mod smooth;

mod classify;
mod weigh;

mod outlier;
mod settings;
mod track;

mod controller;
mod explain;

pub mod classic;
pub mod shares;

pub use classify::Class;
pub use controller::{Controller, Decision, Verdict};
pub use explain::{Explanation, Guard};
pub use outlier::Cause;
pub use settings::Settings;

#[cfg(test)]
mod tests;
