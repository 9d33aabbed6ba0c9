//! The kernel's side as the controller sees it.

pub mod links;
