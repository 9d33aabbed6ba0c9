//! Which replica runs where, so that machines are left balanced and no service stands on one of
//! them.
//!
//! A [`Problem`] is made of nodes and workloads, [`place`] answers an [`Outcome`]. The default
//! method is an ant colony with local search; what others do is here beside it, to compare with.
//! All of it is pure: the clock of a budget belongs to the caller.
//! `docs/placement.md` has the formulas and what they are good for.

mod amount;
mod baselines;
mod colony;
mod cost;
mod counts;
pub mod input;
mod kubernetes;
mod local_search;
mod model;
mod next;
pub mod picture;
mod problem;
mod random;
mod reasons;
mod restarts;
mod search;
mod state;
#[cfg(test)]
mod tests;
mod trails;

pub use amount::{AMOUNT_MAX, AmountError, Amounts, DIMENSIONS, Dimension};
pub use cost::{Score, score};
pub use model::{Mistake, NODES_MAX, Node, REPLICAS_MAX, Subject, Workload};
pub use next::{SAME, next};
pub use problem::{Homes, Problem};
pub use reasons::{Reason, Unplaced};
pub use search::{Budget, Method, Outcome, Progress, Search, place};
