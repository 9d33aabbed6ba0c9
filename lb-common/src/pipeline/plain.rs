//! Frames of the plainest shape: no tag, no options, no extensions, no fragment. They are read
//! and written as one piece, with one check of their bounds.

use super::{
    flow_key::FamilyKey,
    parse::{self, At, FRAGMENT_MASK},
};
use crate::{
    abi::{
        address::Address,
        flow::{FlowKey4, FlowKey6},
    },
    packet::{Delta, Headers, Packet, Rewrite, write_ipv4, write_ipv6, write_ports},
    wire::{Ethernet, Ipv4Hdr, Ipv6Hdr, PlainV4, PlainV6, field, load_v6},
};

/// A plain frame of one address family.
pub trait Plain: crate::wire::Wire {
    /// The key of its flow.
    type Key: FamilyKey;
    /// Where its headers lie; `None` if it is not what it was taken for.
    fn headers<P: Packet>(&self, packet: &P) -> Option<Headers>;
    /// Its flow.
    fn key(&self, headers: &Headers) -> Self::Key;
    /// Its link layer.
    fn ethernet(&self) -> &Ethernet;
    /// Performs a rewrite, but for the checksum of the transport header.
    fn rewrite(&mut self, rewrite: &Rewrite) -> Delta;
}

/// Version 4, a header of five words.
const VERSION_4: u8 = 0x45;

impl Plain for PlainV4 {
    type Key = FlowKey4;

    #[inline]
    fn headers<P: Packet>(&self, packet: &P) -> Option<Headers> {
        const LEN: usize = size_of::<Ipv4Hdr>();
        let ip = &self.ip;
        let is_fragment = u16::from_be(field!(load16(ip), Ipv4Hdr, frags)) & FRAGMENT_MASK != 0;
        let total = usize::from(u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len)));
        if ip.vihl != VERSION_4 || is_fragment || total < LEN {
            return None;
        }
        let l3 = Ethernet::LEN;
        let at = At { l3, l4: l3 + LEN, v6: false, tagged: false, hop_limit: ip.ttl };
        parse::transport(packet, at, ip.proto, total - LEN).ok()
    }

    #[inline]
    fn key(&self, headers: &Headers) -> FlowKey4 {
        FlowKey4 {
            source: field!(load32(&self.ip), Ipv4Hdr, src_addr),
            destination: field!(load32(&self.ip), Ipv4Hdr, dst_addr),
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            protocol: u32::from(headers.protocol),
        }
    }

    #[inline]
    fn ethernet(&self) -> &Ethernet {
        &self.ethernet
    }

    #[cfg_attr(target_arch = "bpf", inline(always))]
    fn rewrite(&mut self, rewrite: &Rewrite) -> Delta {
        if rewrite.with_macs {
            self.ethernet.set_macs(rewrite.macs);
        }
        let addresses = write_ipv4(&mut self.ip, rewrite);
        Delta { addresses, ports: write_ports(&mut self.ports, rewrite) }
    }
}

impl Plain for PlainV6 {
    type Key = FlowKey6;

    #[inline]
    fn headers<P: Packet>(&self, packet: &P) -> Option<Headers> {
        const LEN: usize = size_of::<Ipv6Hdr>();
        let [version, ..] = self.ip.vcf;
        if version >> 4 != 6 {
            return None;
        }
        let payload = usize::from(u16::from_be(field!(load16(&self.ip), Ipv6Hdr, payload_len)));
        let (l3, hop_limit) = (Ethernet::LEN, self.ip.hop_limit);
        let at = At { l3, l4: l3 + LEN, v6: true, tagged: false, hop_limit };
        parse::transport(packet, at, self.ip.next_hdr, payload).ok()
    }

    #[inline]
    fn key(&self, headers: &Headers) -> FlowKey6 {
        let (source, destination) = load_v6(&self.ip);
        FlowKey6 {
            source: Address { words: source },
            destination: Address { words: destination },
            source_port: headers.source_port,
            destination_port: headers.destination_port,
            protocol: u32::from(headers.protocol),
        }
    }

    #[inline]
    fn ethernet(&self) -> &Ethernet {
        &self.ethernet
    }

    #[cfg_attr(target_arch = "bpf", inline(always))]
    fn rewrite(&mut self, rewrite: &Rewrite) -> Delta {
        if rewrite.with_macs {
            self.ethernet.set_macs(rewrite.macs);
        }
        let addresses = write_ipv6(&mut self.ip, rewrite);
        Delta { addresses, ports: write_ports(&mut self.ports, rewrite) }
    }
}
