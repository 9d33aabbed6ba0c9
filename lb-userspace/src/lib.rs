//! Weir's user side: configuration, health, reconcile, the maps, the daemon and the command line.

pub mod dataplane;
pub mod demo;
pub mod lab;
pub mod maps;
pub mod model;
