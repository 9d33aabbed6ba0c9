//! Load: from what the host and the backends show to what they can take.

pub mod host;
pub mod report;
