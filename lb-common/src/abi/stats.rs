//! Counters, one element a CPU; readers add them up.

use super::abi;

abi! {
    /// Traffic of a service or a backend: value of `SERVICE_STATS` and `BACKEND_STATS`.
    pub struct Traffic: 40 {
        /// Flows begun.
        pub flows: u64,
        /// Packets from clients.
        pub packets_in: u64,
        /// Bytes from clients, whole frames.
        pub bytes_in: u64,
        /// Packets to clients.
        pub packets_out: u64,
        /// Bytes to clients, whole frames.
        pub bytes_out: u64,
    }
}
