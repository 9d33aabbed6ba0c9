//! One 16-byte form for both families: IPv4 is held as an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).

use super::abi;

/// The third word of an IPv4-mapped address, `::ffff:a.b.c.d`.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

abi! {
    /// An IP address as four words in network byte order.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct Address: 16 {
        /// The address; words hold the bytes as they lie on the wire.
        pub words: [u32; 4],
    }
}

impl Address {
    /// The IPv4 address whose wire bytes are `word`.
    #[inline]
    #[must_use]
    pub const fn from_v4_word(word: u32) -> Self {
        Self { words: [0, 0, MAPPED, word] }
    }

    /// The IPv4 address `octets`.
    #[must_use]
    pub const fn from_v4(octets: [u8; 4]) -> Self {
        Self::from_v4_word(u32::from_ne_bytes(octets))
    }

    /// The IPv6 address `octets`.
    #[must_use]
    pub fn from_v6(octets: [u8; 16]) -> Self {
        bytemuck::cast(octets)
    }

    /// Whether this is an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == MAPPED
    }

    /// The last word: the whole of an IPv4 address.
    #[inline]
    #[must_use]
    pub const fn v4_word(&self) -> u32 {
        self.words[3]
    }

    /// The 16 bytes as on the wire.
    #[must_use]
    pub fn octets(&self) -> [u8; 16] {
        bytemuck::cast(self.words)
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::from_v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Self::from_v6(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        core::net::Ipv6Addr::from(address.octets()).to_canonical()
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&core::net::IpAddr::from(*self), f)
    }
}
