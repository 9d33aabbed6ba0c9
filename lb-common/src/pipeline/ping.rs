//! The stage of echo requests. A VIP need not be an address of any host, so that nobody else would answer
//! who asks whether it is there (RFC 1122, 3.2.2.6; RFC 4443, 4.1).
//!
//! `LISTEN` has the VIPs under port 0 of ICMP. The request itself is turned round: one answer for one packet.

use super::{
    parse::{self, Network},
    refuse::{addresses, set_hops},
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::service::ListenKey,
    packet::{Headers, Packet, Rewrite, write_network},
    tables::Tables,
    wire::{Ethernet, Icmp, checksum, field},
};

/// What must be readable: two tags, a header of IP with options, the ICMP header.
const REACH: usize = 22 + 60 + Icmp::LEN;

/// Answers a request for a VIP; any other is left to the stack.
#[inline]
pub fn ping<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    packet.reach(REACH);
    let verdict = match request(packet) {
        Ok(headers) => {
            // What the verifier forgets in between it need not follow over and over.
            tables.hand_over(headers);
            let headers = tables.handed_over();
            answer(packet, tables, &headers).unwrap_or(Verdict::ended(Reason::Icmp))
        }
        Err(reason) => Verdict::ended(reason),
    };
    tables.count(&verdict, packet.length());
    verdict
}

/// The headers of a request in one piece.
#[inline]
fn request<P: Packet>(packet: &P) -> Result<Headers, Reason> {
    let Network { at, number, piece, .. } = parse::network::<true, P>(packet)?;
    let Some(icmp) = packet.header::<Icmp>(at.l4) else { return Err(Reason::Icmp) };
    if piece.place != 0 || !Icmp::is_request(number, at.v6, icmp) {
        return Err(Reason::Icmp);
    }
    Ok(Headers { protocol: number, ..at.headers() })
}

/// Makes the request its own answer; `None` if it is for no VIP.
#[inline]
fn answer<P: Packet, T: Tables>(packet: &mut P, tables: &T, headers: &Headers) -> Option<Verdict> {
    let (source, destination) = addresses(packet, headers)?;
    let key = ListenKey { address: destination, port: 0, protocol: headers.protocol, zero: 0 };
    let service = tables.listen(&key)?.id;
    let rewrite = Rewrite {
        headers: *headers,
        source: destination,
        destination: source,
        source_port: 0,
        destination_port: 0,
        macs: packet.header::<Ethernet>(0)?.macs().swapped(),
        with_macs: true,
    };
    set_hops(packet, headers)?;
    // To the pseudo header it is the same which address comes first.
    write_network(packet, &rewrite)?;
    let icmp = packet.header_mut::<Icmp>(headers.transport())?;
    let old = field!(load16(icmp), Icmp, kind);
    icmp.kind = Icmp::answer_to(icmp.kind);
    let new = field!(load16(icmp), Icmp, kind);
    let delta = checksum::difference(u32::from(old), u32::from(new));
    let check = checksum::update(field!(load16(icmp), Icmp, checksum), delta);
    field!(store16(icmp, check), Icmp, checksum);
    let ifindex = packet.ingress();
    Some(Verdict { action: Action::Transmit, ifindex, ..Verdict::about(Reason::Echo, service, 0) })
}
