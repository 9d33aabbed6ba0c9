//! Slot tables as the planner sees them: somebody builds them, the planner places them.

use crate::model::{Endpoint, Policy};

/// A backend that may get slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBackend {
    /// Its id: what the slots hold.
    pub id: u32,
    /// What it is on every node alike: what consistent hashing places it by.
    pub identity: Endpoint,
    /// Its share, at least 1.
    pub weight: u32,
    /// What it can do relative to the others, as far as its load tells; otherwise its weight.
    pub capacity: u32,
}

/// A finished table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltTable {
    /// One of [`lb_common::abi::service::select`].
    pub select: u8,
    /// Backend ids, or rows of backend id and what it weighs for the scanning policies.
    pub entries: Vec<u32>,
    /// Slots: entries or rows.
    pub len: u32,
}

/// Builds the table of a policy over at least one backend.
pub type TableBuilder = fn(Policy, &[TableBackend]) -> BuiltTable;
