//! The stage of ICMP: errors about packets of balanced flows reach who sent these packets, and speak
//! of them as they were sent (RFC 5508, section 4; RFC 4443, section 3).
//!
//! An error quotes the packet that met it. Seen from the error, that packet went the other way: an
//! error about a reply travels as the client's packets do, one about a client's packet as replies do.

use super::{
    Flow, conntrack,
    conntrack::Found,
    flow_key::hairpin,
    forward, full_nat,
    parse::{self, Network},
    rewrite::Decision,
    translate,
    verdict::{Action, Reason, Verdict},
    workspace::Workspace,
};
use crate::{
    abi::{
        address::Address,
        flow::{SharedConn, conn_flag},
    },
    packet::{Headers, Packet, Rewrite, difference_v6, write_network},
    tables::Tables,
    wire::{Icmp, Ipv4Hdr, Ipv6Hdr, Tcp, UdpHdr, checksum, field, load_v6, protocol, store_v6},
};

/// What must be readable: two tags, two headers of IP with options, the quoted TCP header.
const REACH: usize = 22 + 60 + Icmp::LEN + 60 + size_of::<Tcp>();

/// Ends the way of an ICMP packet.
#[inline]
pub fn icmp<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let verdict = translate::<false, P, T>(packet, tables, now);
    if verdict.reason == Reason::Undecided {
        let elsewhere = matches!(verdict.action, Action::FullNatIcmp);
        return Verdict::goes_on(if elsewhere { Action::FullNatIcmp } else { Action::Ping });
    }
    if verdict.is_final() {
        tables.count(&verdict, packet.length());
    }
    verdict
}

/// Sends an error on; what is none, or about nothing of ours, ends with its reason. What leaves the
/// host (`LEAVES`) has a copy of its own, so that neither is a call.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn translate<const LEAVES: bool, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    now: u32,
) -> Verdict {
    packet.reach(REACH);
    // What the verifier forgets in between it need not follow over and over.
    let outer = match error(packet) {
        Ok(headers) => headers,
        Err(reason) => return Verdict::ended(reason),
    };
    tables.hand_over(outer);
    let outer = tables.handed_over();
    let quoted = match quote(packet, &outer) {
        Ok(headers) => headers,
        Err(reason) => return Verdict::ended(reason),
    };
    tables.hand_over(quoted);
    let quoted = tables.handed_over();
    let done =
        tables.with_workspace(|work| match decide(packet, tables, &outer, &quoted, now, work) {
            Ok(()) => {
                if LEAVES {
                    // The stack has found its way already.
                    work.decision.verdict.action = Action::Pass;
                }
                if T::FULL_NAT && translate::crosses(&outer, &work.decision) {
                    let Verdict { service, backend, .. } = work.decision.verdict;
                    return Verdict::about(Reason::NotTranslated, service, backend);
                }
                perform(packet, &outer, &quoted, work)
            }
            // What goes to another program is about nobody yet.
            Err(Reason::Undecided)
                if outer.hop_limit <= 1 && work.decision.verdict.reason != Reason::Undecided =>
            {
                let Verdict { service, backend, .. } = work.decision.verdict;
                Verdict::about(Reason::HopLimit, service, backend)
            }
            Err(Reason::Undecided) => work.decision.verdict,
            Err(reason) => Verdict::ended(reason),
        });
    done.unwrap_or(Verdict::ended(Reason::TableFault))
}

/// Acts on the decision; the reporter is the source of the draft's key.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn perform<P: Packet>(
    packet: &mut P,
    outer: &Headers,
    quoted: &Headers,
    work: &Workspace,
) -> Verdict {
    let Workspace { key, draft, decision, .. } = work;
    if outer.hop_limit <= 1 {
        let Verdict { service, backend, .. } = decision.verdict;
        return Verdict::about(Reason::HopLimit, service, backend);
    }
    // Who reports is hidden only where it is the other end itself.
    let reporter = draft.key.source().0;
    let source = if reporter == key.source().0 { decision.source } else { reporter };
    let written = write_quote(packet, quoted, decision)
        .and_then(|delta| write_error(packet, outer, decision, source, delta));
    match written {
        Some(()) => decision.verdict,
        None => decision.failed(),
    }
}

/// The headers of an error. What may be a request for an answer is not decided.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn error<P: Packet>(packet: &P) -> Result<Headers, Reason> {
    let Network { at, number, piece, .. } = parse::network::<true, P>(packet)?;
    if piece.place != 0 {
        return Err(Reason::Icmp);
    }
    if (number != protocol::ICMP || at.v6) && (number != protocol::ICMPV6 || !at.v6) {
        return Err(Reason::Icmp);
    }
    let Some(icmp) = packet.header::<Icmp>(at.l4) else { return Err(Reason::Icmp) };
    if Icmp::is_request(number, at.v6, icmp) {
        return Err(Reason::Undecided);
    }
    let is_error = Icmp::is_error(number, icmp.kind);
    if is_error { Ok(Headers { protocol: number, ..at.headers() }) } else { Err(Reason::Icmp) }
}

/// The headers of the packet that it quotes; with a payload if the whole TCP header is quoted.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn quote<P: Packet>(packet: &P, outer: &Headers) -> Result<Headers, Reason> {
    let l3 = outer.transport() + Icmp::LEN;
    let inner = if outer.v6 {
        parse::ipv6::<false, P>(packet, l3, outer.tagged)
    } else {
        parse::ipv4::<false, P>(packet, l3, outer.tagged)
    };
    let Ok(Network { at, number, .. }) = inner else { return Err(Reason::Icmp) };
    if number != protocol::TCP && number != protocol::UDP {
        return Err(Reason::Icmp);
    }
    // Eight bytes are always quoted; the checksum of TCP lies beyond.
    let Some(ports) = packet.header::<UdpHdr>(at.l4) else { return Err(Reason::Icmp) };
    let (source_port, destination_port) =
        (field!(load16(ports), UdpHdr, src), field!(load16(ports), UdpHdr, dst));
    let Some(end) = end(packet, outer) else { return Err(Reason::Icmp) };
    let payload = at.l4 + size_of::<Tcp>() <= end;
    Ok(Headers { source_port, destination_port, protocol: number, payload, ..at.headers() })
}

/// Where a packet ends, whatever the frame has behind it.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn end<P: Packet>(packet: &P, headers: &Headers) -> Option<usize> {
    let l3 = headers.network();
    let length = if headers.v6 {
        let ip = packet.header::<Ipv6Hdr>(l3)?;
        size_of::<Ipv6Hdr>() + usize::from(u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len)))
    } else {
        usize::from(u16::from_be(field!(load16(packet.header::<Ipv4Hdr>(l3)?), Ipv4Hdr, tot_len)))
    };
    Some(l3 + length)
}

/// Where the error goes, as a packet of its flow would. The draft's key is that of the error itself.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn decide<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    outer: &Headers,
    quoted: &Headers,
    now: u32,
    work: &mut Workspace,
) -> Result<(), Reason> {
    let Workspace { key, draft, decision, .. } = work;
    if draft.key.read(packet, outer).is_none() || key.read(packet, quoted).is_none() {
        return Err(Reason::Malformed);
    }
    key.turn();
    let key = &*key;
    // Whoever is told must have sent what is quoted.
    if draft.key.destination().0 != key.destination().0 {
        return Err(Reason::Icmp);
    }
    let Some(settings) = tables.settings() else { return Err(Reason::TableFault) };
    let flow = Flow { key, settings, now, tcp_flags: 0, payload: false };
    match conntrack::find(tables, &flow) {
        Found::Reply(entry, stage, vip) => {
            let from = (packet.ingress(), outer);
            if full_nat::back(tables, &flow, (&entry, stage), from, vip, decision).is_none() {
                return Err(Reason::Icmp);
            }
            if !full_nat::has::<T>(&entry) {
                decision.destination_port = key.destination().1;
            }
        }
        Found::Elsewhere if T::FULL_NAT => return Err(Reason::Icmp),
        Found::Elsewhere => {
            (decision.verdict.reason, decision.verdict.action) =
                (Reason::Undecided, Action::FullNatIcmp);
            return Err(Reason::Undecided);
        }
        // Its port may be another flow's by now.
        Found::Forward(entry, stage)
            if full_nat::has::<T>(&entry)
                && !full_nat::keeps_port(tables, &flow, &entry, stage) =>
        {
            return Err(Reason::Icmp);
        }
        Found::Forward(entry, _) => {
            match towards_backend(tables, &flow, &entry, (packet.ingress(), outer), decision) {
                TRANSLATED => {}
                UNCHANGED => return Err(Reason::Undecided),
                _ => return Err(Reason::Icmp),
            }
        }
        Found::Stale | Found::Nothing => return Err(Reason::Icmp),
    }
    decision.verdict.reason = Reason::IcmpError;
    Ok(())
}

/// The flow has lost its backend.
const LOST: u32 = 0;
/// The error is written anew and sent on.
const TRANSLATED: u32 = 1;
/// It stays as it is, and the verdict says why.
const UNCHANGED: u32 = 2;

/// The way to the backend of a flow. What a tunnel carries is the whole error.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn towards_backend<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    entry: &SharedConn,
    (ingress, outer): (u32, &Headers),
    decision: &mut Decision,
) -> u32 {
    let Some(backend) = tables.backend(entry.backend) else { return LOST };
    if backend.generation != entry.generation {
        return LOST;
    }
    let turned = entry.flags & conn_flag::HAIRPIN != 0;
    let (source, port) = flow.key.source();
    let client = if turned { hairpin(flow.settings, flow.key.is_v6()) } else { source };
    *decision = forward::towards(ingress, outer, client, entry, backend);
    decision.source_port = port;
    if full_nat::has::<T>(entry) {
        full_nat::from_us(entry, backend, decision);
    }
    if let Action::Drop = decision.verdict.action {
        return UNCHANGED;
    }
    if entry.flags & conn_flag::DIRECT == 0 {
        return TRANSLATED;
    }
    if let Action::Encap = decision.verdict.action {
        decision.verdict.reason = Reason::IcmpError;
        tables.hand_over(*outer);
        return UNCHANGED;
    }
    TRANSLATED
}

/// Makes the quoted packet the one that was sent: the reverse of the decision. Returns what that
/// adds to the sum over the error.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn write_quote<P: Packet>(packet: &mut P, quoted: &Headers, decision: &Decision) -> Option<u64> {
    let (source, destination) = (decision.destination, decision.source);
    let (addresses, of_header) = if quoted.v6 {
        let ip = packet.header_mut::<Ipv6Hdr>(quoted.network())?;
        let (old_source, old_destination) = load_v6(ip);
        store_v6(ip, source.words, destination.words);
        let changed = difference_v6(old_source, source.words)
            + difference_v6(old_destination, destination.words);
        (changed, 0)
    } else {
        let ip = packet.header_mut::<Ipv4Hdr>(quoted.network())?;
        let changed = checksum::difference(field!(load32(ip), Ipv4Hdr, src_addr), source.v4_word())
            + checksum::difference(field!(load32(ip), Ipv4Hdr, dst_addr), destination.v4_word());
        field!(store32(ip, source.v4_word()), Ipv4Hdr, src_addr);
        field!(store32(ip, destination.v4_word()), Ipv4Hdr, dst_addr);
        let old = field!(load16(ip), Ipv4Hdr, check);
        let new = checksum::update(old, changed);
        field!(store16(ip, new), Ipv4Hdr, check);
        (changed, checksum::difference(u32::from(old), u32::from(new)))
    };
    let ports = packet.header_mut::<UdpHdr>(quoted.transport())?;
    let change = |old, new| checksum::difference(u32::from(old), u32::from(new));
    let of_ports = change(quoted.source_port, decision.destination_port)
        + change(quoted.destination_port, decision.source_port);
    field!(store16(ports, decision.destination_port), UdpHdr, src);
    field!(store16(ports, decision.source_port), UdpHdr, dst);
    let of_checksum = write_quoted_checksum(packet, quoted, addresses + of_ports).unwrap_or(0);
    Some(addresses + of_header + of_ports + of_checksum)
}

/// The checksum of the quoted transport header, where the quotation reaches that far.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn write_quoted_checksum<P: Packet>(packet: &mut P, quoted: &Headers, delta: u64) -> Option<u64> {
    let (old, new) = if quoted.protocol == protocol::UDP {
        let udp = packet.header_mut::<UdpHdr>(quoted.transport())?;
        let old = field!(load16(udp), UdpHdr, check);
        let new = checksum::update_udp(old, delta);
        field!(store16(udp, new), UdpHdr, check);
        (old, new)
    } else if quoted.payload {
        let tcp = packet.header_mut::<Tcp>(quoted.transport())?;
        let old = field!(load16(tcp), Tcp, checksum);
        let new = checksum::update(old, delta);
        field!(store16(tcp, new), Tcp, checksum);
        (old, new)
    } else {
        return None;
    };
    Some(checksum::difference(u32::from(old), u32::from(new)))
}

/// Readdresses the error itself. Its checksum is complete wherever it comes from, so that it can be
/// written in place.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn write_error<P: Packet>(
    packet: &mut P,
    outer: &Headers,
    decision: &Decision,
    source: Address,
    delta: u64,
) -> Option<()> {
    let rewrite = Rewrite { source, ..decision.rewrite(outer) };
    let addresses = write_network(packet, &rewrite)?;
    let delta = if outer.v6 { delta + addresses } else { delta };
    let icmp = packet.header_mut::<Icmp>(outer.transport())?;
    let check = checksum::update(field!(load16(icmp), Icmp, checksum), delta);
    field!(store16(icmp, check), Icmp, checksum);
    Some(())
}
