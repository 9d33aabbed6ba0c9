//! Weir's user side: configuration, health, reconcile, the maps, the daemon and the command line.

pub mod maps;
pub mod model;
pub mod reconcile;
