//! The balancer.
pub mod verdict;
