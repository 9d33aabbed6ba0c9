//! What is remembered of the sockets of this host that dial services.

use super::{abi, address::Address};

/// What an entry of `SOCKETS` answers: [`SocketKey::kind`].
pub mod socket_kind {
    /// Which backend has the datagrams of this socket to this VIP.
    pub const BACKEND: u16 = 0;
    /// Which VIP the socket dialled when it reached this backend.
    pub const VIP: u16 = 1;
}

abi! {
    /// A socket and the other end of what it says: key of `SOCKETS`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct SocketKey: 32 {
        /// The socket's cookie, which no other socket of the host has had or will have.
        pub cookie: u64,
        /// The VIP or the backend's address.
        pub address: Address,
        /// Its port, network byte order.
        pub port: u16,
        /// One of [`socket_kind`].
        pub kind: u16,
        /// Always 0.
        pub zero: u32,
    }
}

abi! {
    /// The other side of the translation: value of `SOCKETS`.
    pub struct SocketPeer: 32 {
        /// The backend's address or the VIP.
        pub address: Address,
        /// Its port, network byte order.
        pub port: u16,
        /// Always 0.
        pub zero: u16,
        /// Backend id.
        pub backend: u32,
        /// Generation of the backend when it was chosen.
        pub generation: u32,
        /// Jiffies of about the last datagram.
        pub last_seen: u32,
    }
}
