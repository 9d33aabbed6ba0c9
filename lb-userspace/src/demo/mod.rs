//! `weir demo`: the balancer, its backends and a load in a laboratory, to be watched.

pub mod client;
mod connection;
mod http;
pub mod screen;
pub mod server;
pub mod show;
pub mod summary;
pub mod tally;
pub mod view;
