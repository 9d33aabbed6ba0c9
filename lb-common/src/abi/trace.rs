//! What a program did with the packet of a test run; written by programs loaded with `TRACE` on.

use super::abi;

abi! {
    /// The one element of `TRACE`.
    pub struct Trace: 16 {
        /// A [`Reason`](crate::pipeline::verdict::Reason) as its number.
        pub reason: u32,
        /// Service id, 0 if none.
        pub service: u32,
        /// Backend id, 0 if none.
        pub backend: u32,
        /// Interface the packet leaves by, 0 if none.
        pub ifindex: u32,
    }
}
