//! Weir's user side: configuration, health, reconcile, the maps, the daemon and the command line.

pub mod admin;
pub mod autoscale;
pub mod chain;
pub mod cli;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod dataplane;
pub mod demo;
pub mod docker;
pub mod forecast;
pub mod health;
pub mod lab;
pub mod load;
pub mod maps;
pub mod metrics;
pub mod model;
pub mod pcap;
pub mod placement;
pub mod plot;
pub mod privileges;
pub mod reconcile;
pub mod seccomp;
pub mod table;
