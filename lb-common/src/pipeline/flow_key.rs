//! The shapes of a flow: the two that the tables are keyed by, and one for both.
//!
//! The path of every packet is compiled once for each family, with everything about it known; all
//! else works on [`FlowKey`], so that it exists once.

use crate::{
    abi::{
        address::Address,
        flow::{FlowKey4, FlowKey6},
        settings::Settings,
    },
    packet::{Headers, Packet},
    wire::{Ipv4Hdr, Ipv6Hdr, field, load_v6},
};

/// A 5-tuple of one address family.
pub trait FamilyKey: Copy + core::fmt::Debug {
    /// IPv6 rather than IPv4.
    const V6: bool;
    /// The same in the form for both families.
    fn widen(&self) -> FlowKey;
}

impl FamilyKey for FlowKey4 {
    const V6: bool = false;

    #[inline]
    fn widen(&self) -> FlowKey {
        let (source, destination) =
            (Address::from_v4_word(self.source), Address::from_v4_word(self.destination));
        let Self { source_port, destination_port, protocol, .. } = *self;
        let wide = FlowKey6 { source, destination, source_port, destination_port, protocol };
        FlowKey { wide, v6: false }
    }
}

impl FamilyKey for FlowKey6 {
    const V6: bool = true;

    #[inline]
    fn widen(&self) -> FlowKey {
        FlowKey { wide: *self, v6: true }
    }
}

/// A 5-tuple of either family. That an address looks IPv4-mapped does not make its flow one of
/// IPv4: the family is the packet's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    wide: FlowKey6,
    v6: bool,
}

impl FlowKey {
    /// A flow from its parts.
    #[inline]
    #[must_use]
    pub const fn new(
        v6: bool,
        (source, source_port): (Address, u16),
        (destination, destination_port): (Address, u16),
        protocol: u8,
    ) -> Self {
        let protocol = protocol as u32;
        let wide = FlowKey6 { source, destination, source_port, destination_port, protocol };
        Self { wide, v6 }
    }

    /// Becomes the flow of a packet.
    #[inline]
    pub fn read<P: Packet>(&mut self, packet: &P, headers: &Headers) -> Option<()> {
        self.v6 = headers.v6;
        self.wide.source_port = headers.source_port;
        self.wide.destination_port = headers.destination_port;
        self.wide.protocol = u32::from(headers.protocol);
        if headers.v6 {
            let (source, destination) = load_v6(packet.header::<Ipv6Hdr>(headers.network())?);
            self.wide.source = Address { words: source };
            self.wide.destination = Address { words: destination };
        } else {
            let ip = packet.header::<Ipv4Hdr>(headers.network())?;
            self.wide.source = Address::from_v4_word(field!(load32(ip), Ipv4Hdr, src_addr));
            self.wide.destination = Address::from_v4_word(field!(load32(ip), Ipv4Hdr, dst_addr));
        }
        Some(())
    }

    /// Becomes the same flow in the other direction.
    #[inline]
    pub const fn turn(&mut self) {
        let FlowKey6 { source, destination, source_port, destination_port, protocol } = self.wide;
        self.wide = FlowKey6 {
            source: destination,
            destination: source,
            source_port: destination_port,
            destination_port: source_port,
            protocol,
        };
    }

    /// Becomes one to another port, in network byte order.
    #[inline]
    pub const fn set_destination_port(&mut self, port: u16) {
        self.wide.destination_port = port;
    }

    /// Whether it is of IPv6.
    #[inline]
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.v6
    }

    /// The key of an IPv6 table, and of one for both families.
    #[inline]
    #[must_use]
    pub const fn v6(&self) -> &FlowKey6 {
        &self.wide
    }

    /// Whether it looks like one of the other family in a table for both: such packets open no flow (see
    /// [`lookup`](super::lookup)), and have none there.
    #[inline]
    #[must_use]
    pub const fn is_disguised(&self) -> bool {
        self.v6 && (self.wide.source.is_v4() || self.wide.destination.is_v4())
    }

    /// The key of an IPv4 table.
    #[inline]
    #[must_use]
    pub const fn v4(&self) -> FlowKey4 {
        FlowKey4 {
            source: self.wide.source.v4_word(),
            destination: self.wide.destination.v4_word(),
            source_port: self.wide.source_port,
            destination_port: self.wide.destination_port,
            protocol: self.wide.protocol,
        }
    }

    /// Source address and port.
    #[inline]
    #[must_use]
    pub const fn source(&self) -> (Address, u16) {
        (self.wide.source, self.wide.source_port)
    }

    /// Destination address and port.
    #[inline]
    #[must_use]
    pub const fn destination(&self) -> (Address, u16) {
        (self.wide.destination, self.wide.destination_port)
    }

    /// IP protocol number.
    #[inline]
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.wide.protocol as u8
    }
}

/// The address a backend sees as the client when it calls its own service.
#[inline]
#[must_use]
pub const fn hairpin(settings: &Settings, v6: bool) -> Address {
    if v6 { settings.hairpin_v6 } else { settings.hairpin_v4 }
}
