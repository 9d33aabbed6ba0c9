//! The two shapes of a flow: one pipeline serves both families through this trait.

use crate::{
    abi::{
        address::Address,
        flow::{FlowKey4, FlowKey6},
        settings::Settings,
    },
    packet::{Headers, Packet},
    wire::{Ipv4Hdr, Ipv6Hdr, load_v6, load32},
};

/// A 5-tuple of one address family.
pub trait FlowKey: Copy + core::fmt::Debug {
    /// IPv6 rather than IPv4.
    const V6: bool;
    /// Reads the flow of a packet.
    fn read<P: Packet>(packet: &P, headers: &Headers) -> Option<Self>;
    /// A flow from its parts.
    fn new(source: (Address, u16), destination: (Address, u16), protocol: u8) -> Self;
    /// Source address.
    fn source(&self) -> Address;
    /// Destination address.
    fn destination(&self) -> Address;
    /// Source port, destination port, protocol.
    fn ports(&self) -> (u16, u16, u8);
}

impl FlowKey for FlowKey4 {
    const V6: bool = false;

    #[inline]
    fn read<P: Packet>(packet: &P, headers: &Headers) -> Option<Self> {
        let ip = packet.header::<Ipv4Hdr>(headers.network())?;
        Some(Self {
            source: load32(&ip.src_addr),
            destination: load32(&ip.dst_addr),
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            protocol: u32::from(headers.protocol),
        })
    }

    #[inline]
    fn new(source: (Address, u16), destination: (Address, u16), protocol: u8) -> Self {
        Self {
            source: source.0.v4_word(),
            destination: destination.0.v4_word(),
            source_port: source.1,
            destination_port: destination.1,
            protocol: u32::from(protocol),
        }
    }

    #[inline]
    fn source(&self) -> Address {
        Address::from_v4_word(self.source)
    }

    #[inline]
    fn destination(&self) -> Address {
        Address::from_v4_word(self.destination)
    }

    #[inline]
    fn ports(&self) -> (u16, u16, u8) {
        (self.source_port, self.destination_port, self.protocol as u8)
    }
}

impl FlowKey for FlowKey6 {
    const V6: bool = true;

    #[inline]
    fn read<P: Packet>(packet: &P, headers: &Headers) -> Option<Self> {
        let ip = packet.header::<Ipv6Hdr>(headers.network())?;
        Some(Self {
            source: Address { words: load_v6(&ip.src_addr) },
            destination: Address { words: load_v6(&ip.dst_addr) },
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            protocol: u32::from(headers.protocol),
        })
    }

    #[inline]
    fn new(source: (Address, u16), destination: (Address, u16), protocol: u8) -> Self {
        Self {
            source: source.0,
            destination: destination.0,
            source_port: source.1,
            destination_port: destination.1,
            protocol: u32::from(protocol),
        }
    }

    #[inline]
    fn source(&self) -> Address {
        self.source
    }

    #[inline]
    fn destination(&self) -> Address {
        self.destination
    }

    #[inline]
    fn ports(&self) -> (u16, u16, u8) {
        (self.source_port, self.destination_port, self.protocol as u8)
    }
}

/// The address a backend sees as the client when it calls its own service.
#[inline]
#[must_use]
pub fn hairpin<K: FlowKey>(settings: &Settings) -> Address {
    if K::V6 { settings.hairpin_v6 } else { settings.hairpin_v4 }
}
