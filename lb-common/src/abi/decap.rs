//! Keys and values of the maps of `weir decap`.

use super::{abi, address::Address};

/// Networks that tunnels may come from.
pub const PEERS_MAX: u32 = 1_024;
/// Addresses of the host.
pub const LOCALS_MAX: u32 = 4_096;

abi! {
    /// Key data of the LPM trie `DECAP_PEERS`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct PeerKey: 16 {
        /// Source of a tunnel.
        pub address: Address,
    }
}

abi! {
    /// The one element of `DECAP_SETTINGS`.
    pub struct DecapSettings: 4 {
        /// Destination port of tunnels with a UDP header, network byte order.
        pub gue_port: u16,
        /// Always 0.
        pub zero: u16,
    }
}
