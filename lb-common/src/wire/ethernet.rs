//! Ethernet II (IEEE 802.3) and VLAN tags (IEEE 802.1Q, 802.1ad).

use super::{load32, store32};

/// `EtherType` of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// Whether a VLAN tag follows.
#[inline]
#[must_use]
pub const fn is_vlan(ether_type: u16) -> bool {
    ether_type == ETHERTYPE_VLAN || ether_type == ETHERTYPE_QINQ
}

/// The Ethernet header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination MAC address, then source MAC address.
    pub addresses: [u8; 12],
    /// What follows, network byte order.
    pub ether_type: [u8; 2],
}

/// A destination and a source MAC address in three words, as they lie on the wire.
///
/// Six-byte arrays would be moved byte by byte, each in a register of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Macs {
    /// The twelve bytes.
    pub words: [u32; 3],
}

impl Macs {
    /// Both addresses from their bytes.
    #[must_use]
    pub fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = destination;
        let [g, h, i, j, k, l] = source;
        Self {
            words: [
                u32::from_ne_bytes([a, b, c, d]),
                u32::from_ne_bytes([e, f, g, h]),
                u32::from_ne_bytes([i, j, k, l]),
            ],
        }
    }

    /// The addresses of a frame that goes back where this one came from.
    #[inline]
    #[must_use]
    pub const fn swapped(self) -> Self {
        let [a, b, c] = self.words;
        Self { words: [join(b, c), join(c, a), join(a, b)] }
    }
}

/// The last two bytes of a word, then the first two of the next.
#[inline]
const fn join(word: u32, next: u32) -> u32 {
    if cfg!(target_endian = "little") { word >> 16 | next << 16 } else { word << 16 | next >> 16 }
}

impl Ethernet {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// The MAC addresses.
    #[inline]
    #[must_use]
    pub fn macs(&self) -> Macs {
        Macs { words: [load32::<0, _>(self), load32::<4, _>(self), load32::<8, _>(self)] }
    }

    /// Writes the MAC addresses.
    #[inline]
    pub fn set_macs(&mut self, macs: Macs) {
        let [a, b, c] = macs.words;
        store32::<0, _>(self, a);
        store32::<4, _>(self, b);
        store32::<8, _>(self, c);
    }
}

/// What follows the Ethernet header of a tagged frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// Priority, drop eligibility, VLAN id.
    pub control: [u8; 2],
    /// What follows, network byte order.
    pub ether_type: [u8; 2],
}

impl VlanTag {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapping_exchanges_destination_and_source() {
        let (a, b) = ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]);
        assert_eq!(Macs::new(a, b).swapped(), Macs::new(b, a));
    }
}
