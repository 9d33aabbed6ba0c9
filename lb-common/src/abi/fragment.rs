//! Fragments: which ports the later ones of a packet belong to.

use super::{abi, address::Address};

abi! {
    /// A packet in pieces: key of `FRAGMENTS`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct FragmentKey: 40 {
        /// Source address as on the wire.
        pub source: Address,
        /// Destination address as on the wire.
        pub destination: Address,
        /// What the pieces have in common, as it lies on the wire.
        pub identification: u32,
        /// IP protocol number over IPv4, where each protocol counts for itself; 0 over IPv6.
        pub protocol: u32,
    }
}

abi! {
    /// What the first piece says of all: value of `FRAGMENTS`.
    pub struct Fragment: 12 {
        /// Source port, network byte order.
        pub source_port: u16,
        /// Destination port, network byte order.
        pub destination_port: u16,
        /// IP protocol number.
        pub protocol: u32,
        /// Jiffies of the first piece.
        pub seen: u32,
    }
}
