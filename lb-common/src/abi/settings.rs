//! Settings of the dataplane: the one element of `SETTINGS`.

use super::{abi, address::Address};

/// Bits of [`Settings::flags`].
pub mod settings_flag {
    /// Some service listens on a port range: look there after an exact miss.
    pub const RANGES: u32 = 1;
    /// TCP packets for nobody are answered by a reset, datagrams by a port unreachable message.
    pub const RESETS: u32 = 2;
}

abi! {
    /// What the pipeline needs to know beside its tables. Durations are jiffies.
    pub struct Settings: 124 {
        /// [`super::ABI_VERSION`] of the writer.
        pub abi_version: u32,
        /// Bits of [`settings_flag`].
        pub flags: u32,
        /// Idle limit of a TCP flow before its handshake ends.
        pub tcp_new_ticks: u32,
        /// Idle limit of an established TCP flow.
        pub tcp_established_ticks: u32,
        /// Idle limit of a TCP flow after one FIN.
        pub tcp_half_closed_ticks: u32,
        /// Idle limit of a TCP flow after both FINs.
        pub tcp_closed_ticks: u32,
        /// Idle limit of an unanswered UDP flow.
        pub udp_new_ticks: u32,
        /// Idle limit of an answered UDP flow.
        pub udp_established_ticks: u32,
        /// Source of an IPv4 backend's packets to itself.
        pub hairpin_v4: Address,
        /// Source of an IPv6 backend's packets to itself.
        pub hairpin_v6: Address,
        /// Ticks in a second (`CONFIG_HZ`).
        pub ticks_per_second: u32,
        /// Generation of the desired state last written.
        pub generation: u32,
        /// First packets a second that stay unanswered, above which backends are chosen by a hash;
        /// 0: never.
        pub pressure: u32,
        /// Source of tunnels over IPv4; unspecified: [`Backend::source`](super::backend::Backend::source).
        pub tunnel_v4: Address,
        /// The same over IPv6.
        pub tunnel_v6: Address,
        /// Bits of the last word of `tunnel_v4` that say which flow it is, as on the wire.
        pub tunnel_v4_mask: u32,
        /// The same of `tunnel_v6`.
        pub tunnel_v6_mask: u32,
        /// Destination port of tunnels with a UDP header, network byte order.
        pub gue_port: u16,
        /// The first port of this host that flows of full NAT come from, host byte order.
        pub source_port_first: u16,
        /// How many there are.
        pub source_ports: u32,
    }
}
