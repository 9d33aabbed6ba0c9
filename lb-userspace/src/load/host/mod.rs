//! Signals from the host: what the kernel knows about a container, without anything in it.
//!
//! A [`Cgroup`] is found by a process or a path and read every second; [`utilisations`] compares
//! two readings. [`LinkReader`] has the network counters, as the host's end of a container's veth
//! shows them.

mod cgroup;
mod file;
mod files;
mod io_files;
mod links;
mod locate;
mod machine;
mod meter;
mod normalise;
mod parse;
mod reading;

pub use cgroup::{Cgroup, CgroupError};
pub use file::Scratch;
pub use links::{LinkCounts, LinkReader};
pub use locate::LocateError;
pub use machine::{host, raise_descriptor_limit};
pub use meter::Meter;
pub use normalise::{Host, NetworkUse, Share, Stalled, Unknown, Utilisations, utilisations};
pub use reading::{
    Cpu, DEVICES_MAX, Device, IoCounts, IoRates, LEVELS_MAX, Level, Levels, LimitedDevice, Memory,
    Pressure, Quota, Reading,
};

#[cfg(test)]
mod tests;
