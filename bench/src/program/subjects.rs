//! The list of what is measured, and what has to be there before.

use anyhow::Result;
use lb_common::{
    maps::{CONNS_MAX, EMBRYOS_MAX},
    pipeline::verdict::Reason,
};

use super::{
    bed::{Bed, MAIN, MANY_SERVICES, MILLION},
    frame::{ACK, Flows, Packet, SYN},
    subject::{
        ESTABLISHED, FRESH, FRESH_SMALL, Fate, LARGE, Subject, TC_REDIRECT, Under, XDP_DROP,
        XDP_PASS, XDP_REDIRECT, XDP_TX,
    },
};
use crate::weir::Hook;

/// Flows that fit into the first cache.
pub(super) const HOT: Flows = Flows::Among(0, HOT_COUNT);
const HOT_COUNT: u32 = 64;
/// Flows whose clients are on another interface than the one that replies come in by.
const REPLIED: Flows = Flows::Among(REPLIED_FIRST, HOT_COUNT);
const REPLIED_FIRST: u32 = 4_096;
/// Flows whose packets come from both ends in turn, in by one interface.
const TURNING: Flows = Flows::Among(TURNING_FIRST, HOT_COUNT);
const TURNING_FIRST: u32 = 8_192;
/// Flows that fit into no cache.
const MANY: Flows = Flows::Among(MANY_FIRST, MANY_COUNT);
const MANY_FIRST: u32 = 1 << 20;
const MANY_COUNT: u32 = 100_000;
/// Flows that nobody measures: they fill tables.
const FILLING: u32 = 1 << 23;

/// Where the program under test is: a hook, and the number of the instance.
type Place = (Hook, usize);
const XDP: Place = (Hook::Xdp, MAIN);
const TC: Place = (Hook::Tc, MAIN);

/// Records the flows that the subjects need.
pub(crate) fn prepare(bed: &mut Bed) -> Result<()> {
    let (v4, v6, signals) = (bed.tcp_v4(), bed.tcp_v6(), bed.with_signals());
    for service in [v4, v6, signals] {
        bed.establish(XDP, service, 0, HOT_COUNT)?;
        bed.establish(XDP, service, TURNING_FIRST, HOT_COUNT)?;
        bed.establish(TC, service, REPLIED_FIRST, HOT_COUNT)?;
    }
    for udp in [bed.udp_v4(), bed.udp_v6()] {
        let answer = Packet::udp(udp).reply(bed.backend_of(udp));
        for (place, first) in [(XDP, 0), (TC, REPLIED_FIRST)] {
            bed.send(place, Packet::udp(udp), first, HOT_COUNT)?;
            bed.send(place, answer, first, HOT_COUNT)?;
            // A flow of datagrams is established by its client's second packet.
            bed.send(place, Packet::udp(udp), first, HOT_COUNT)?;
        }
    }
    bed.establish(XDP, bed.full_nat(), 0, HOT_COUNT)?;
    bed.establish(XDP, v4, MANY_FIRST, MANY_COUNT)?;
    bed.record(ESTABLISHED, 0, HOT_COUNT)?;
    bed.record(ESTABLISHED, MANY_FIRST, MANY_COUNT)?;
    if let Some(most) = bed.extent.flows.last().copied() {
        bed.establish((Hook::Xdp, MILLION), v4, 0, most)?;
        bed.record(LARGE, 0, most)?;
    }
    // Evictions begin when a table is full.
    bed.record(FRESH, FILLING, CONNS_MAX)?;
    bed.record(FRESH_SMALL, FILLING, EMBRYOS_MAX)?;
    for service in [v4, v6] {
        bed.send(XDP, Packet::tcp(SYN, service), FILLING, 2 * EMBRYOS_MAX)?;
    }
    bed.send(XDP, Packet::udp(bed.udp_v4()), FILLING, 2 * EMBRYOS_MAX)?;
    for instance in MANY_SERVICES..bed.weirs.len() {
        bed.establish((Hook::Xdp, instance), v4, 0, HOT_COUNT)?;
        bed.send((Hook::Xdp, instance), Packet::tcp(SYN, v4), FILLING, 2 * EMBRYOS_MAX)?;
    }
    Ok(())
}

/// Hands out ranges of flows that nobody else has: 16 million each.
struct Ranges(u32);

impl Ranges {
    const fn next(&mut self) -> Flows {
        self.0 += 1;
        Flows::Next(self.0 << 24)
    }
}

/// All subjects.
pub(crate) fn list(bed: &Bed) -> Result<Vec<Subject>> {
    let mut ranges = Ranges(0);
    let mut all = floors(bed, &mut ranges)?;
    all.extend(forwarded(bed, &mut ranges));
    all.extend(untouched(bed)?);
    all.extend(at_tc(bed, &mut ranges)?);
    all.extend(full_nat(bed));
    all.extend(policies(bed, &mut ranges));
    all.extend(scale(bed, &mut ranges));
    Ok(all)
}

fn floors(bed: &Bed, ranges: &mut Ranges) -> Result<Vec<Subject>> {
    let established = Packet::tcp(ACK, bed.tcp_v4());
    let fresh = Packet::tcp(SYN, bed.tcp_v4());
    let stranger = Packet::tcp(ACK, Bed::stranger()?);
    let small = |subject| Subject { rig: FRESH_SMALL, ..subject };
    Ok(vec![
        floor("parse", "parse", established, HOT, Fate::Untouched(XDP_TX)),
        floor("hash", "hash", stranger, HOT, Fate::Untouched(XDP_PASS)),
        floor("dnat", "dnat", established, HOT, TO_BACKEND),
        floor("dnat again", "dnat", established, HOT, TO_BACKEND),
        floor("dnat, 100,000 flows", "dnat", established, MANY, TO_BACKEND),
        floor("new1", "new1", fresh, ranges.next(), TO_BACKEND),
        floor("new2", "new2", fresh, ranges.next(), TO_BACKEND),
        small(floor("new1, small table", "new1", fresh, ranges.next(), TO_BACKEND)),
        small(floor("new2, small table", "new2", fresh, ranges.next(), TO_BACKEND)),
    ])
}

fn forwarded(bed: &Bed, ranges: &mut Ranges) -> Vec<Subject> {
    let established = Packet::tcp(ACK, bed.tcp_v4());
    let (fresh, v6) = (Packet::tcp(SYN, bed.tcp_v4()), Packet::tcp(ACK, bed.tcp_v6()));
    let (udp, udp6) = (Packet::udp(bed.udp_v4()), Packet::udp(bed.udp_v6()));
    let signals = Packet::tcp(ACK, bed.with_signals());
    let reply = |packet: Packet| packet.reply(bed.backend_of(packet.server));
    let forward = |name, packet, flows| weir(name, XDP, packet, flows, TO_BACKEND);
    let answer =
        |name, packet| weir(name, XDP, reply(packet), REPLIED, Fate::ToClient(XDP_REDIRECT));
    let turns = |name, packet| Subject {
        answer: Some(reply(packet)),
        ..weir(name, XDP, packet, TURNING, Fate::ToClient(XDP_TX))
    };
    vec![
        forward("xdp established v4", established, HOT),
        forward("xdp established v4 again", established, HOT),
        answer("xdp reply v4", established),
        forward("xdp established v6", v6, HOT),
        answer("xdp reply v6", v6),
        forward("xdp established udp", udp, HOT),
        answer("xdp reply udp", udp),
        forward("xdp established udp v6", udp6, HOT),
        forward("xdp new flow", fresh, ranges.next()),
        forward("xdp new flow v6", Packet::tcp(SYN, bed.tcp_v6()), ranges.next()),
        forward("xdp new flow udp", udp, ranges.next()),
        forward("xdp 100,000 flows", established, MANY),
        forward("xdp established v4, signals", signals, HOT),
        turns("xdp in turn v4", established),
        turns("xdp in turn v4, signals", signals),
    ]
}

/// What is not ours, and what is refused.
fn untouched(bed: &Bed) -> Result<Vec<Subject>> {
    let stranger = Packet::tcp(ACK, Bed::stranger()?);
    let subject = |name, packet, returned, reason| Subject {
        reason: Some(reason),
        ..weir(name, XDP, packet, HOT, Fate::Untouched(returned))
    };
    let (closed, empty) = (Packet::tcp(SYN, bed.closed()), Packet::tcp(SYN, bed.empty()));
    Ok(vec![
        subject("xdp not ours", stranger, XDP_PASS, Reason::NotService),
        subject("xdp dropped, source denied", closed, XDP_DROP, Reason::SourceDenied),
        subject("xdp dropped, no backend", empty, XDP_DROP, Reason::NoBackend),
    ])
}

fn at_tc(bed: &Bed, ranges: &mut Ranges) -> Result<Vec<Subject>> {
    let established = Packet::tcp(ACK, bed.tcp_v4());
    let v6 = Packet::tcp(ACK, bed.tcp_v6());
    let (udp, fresh) = (Packet::udp(bed.udp_v4()), Packet::tcp(SYN, bed.tcp_v4()));
    let reply = established.reply(bed.backend_of(bed.tcp_v4()));
    let forward = |name, packet, flows| weir(name, TC, packet, flows, Fate::ToBackend(TC_REDIRECT));
    let not_ours = weir("tc not ours", TC, Packet::tcp(ACK, Bed::stranger()?), HOT, PASSED);
    Ok(vec![
        forward("tc established v4", established, HOT),
        weir("tc reply v4", TC, reply, REPLIED, Fate::ToClient(TC_REDIRECT)),
        forward("tc established v6", v6, HOT),
        forward("tc established udp", udp, HOT),
        forward("tc new flow", fresh, ranges.next()),
        Subject { reason: Some(Reason::NotService), ..not_ours },
    ])
}

/// To a backend that sees this host in place of its clients.
fn full_nat(bed: &Bed) -> [Subject; 2] {
    let packet = Packet::tcp(ACK, bed.full_nat());
    [
        weir("xdp established v4, full NAT", XDP, packet, HOT, Fate::FromUs(XDP_REDIRECT)),
        weir("tc established v4, full NAT", TC, packet, HOT, Fate::FromUs(TC_REDIRECT)),
    ]
}

/// The first packet of a flow by each policy, with eight backends.
fn policies(bed: &Bed, ranges: &mut Ranges) -> Vec<Subject> {
    let mut one = |(policy, service)| {
        let name = policy_name(policy);
        weir(name, XDP, Packet::tcp(SYN, service), ranges.next(), TO_BACKEND)
    };
    bed.policies().map(&mut one).collect()
}

/// The name of the subject that shows what a policy costs.
pub(super) fn policy_name(policy: lb_userspace::model::Policy) -> String {
    format!("xdp new flow, {}", policy.name())
}

/// More and more flows, and more and more services.
fn scale(bed: &Bed, ranges: &mut Ranges) -> Vec<Subject> {
    let (established, fresh) = (Packet::tcp(ACK, bed.tcp_v4()), Packet::tcp(SYN, bed.tcp_v4()));
    let mut all = Vec::new();
    for count in bed.extent.flows.iter().copied() {
        let flows = Flows::Among(0, count);
        let [ours, floor_name] = flows_names(count);
        let rig = LARGE;
        all.push(weir(ours, (Hook::Xdp, MILLION), established, flows, TO_BACKEND));
        all.push(Subject { rig, ..floor(floor_name, "dnat", established, flows, TO_BACKEND) });
    }
    for (instance, count) in (MANY_SERVICES..).zip(bed.extent.services.iter().copied()) {
        let place = (Hook::Xdp, instance);
        let [known, new] = services_names(count);
        all.push(weir(known, place, established, HOT, TO_BACKEND));
        all.push(weir(new, place, fresh, ranges.next(), TO_BACKEND));
    }
    all
}

/// Names of the subjects with so many flows: ours, and the floor.
pub(super) fn flows_names(count: u32) -> [String; 2] {
    [format!("xdp among {count} flows"), format!("dnat among {count} flows")]
}

/// Names of the subjects with so many services: an established flow, and a new one.
pub(super) fn services_names(count: u32) -> [String; 2] {
    [format!("xdp established, {count} services"), format!("xdp new flow, {count} services")]
}

const TO_BACKEND: Fate = Fate::ToBackend(XDP_REDIRECT);
/// `TC_ACT_UNSPEC`.
const PASSED: Fate = Fate::Untouched(u32::MAX);

/// New flows are not to push the established ones out of the floors' table.
const fn rig_of(flows: Flows) -> usize {
    match flows {
        Flows::Next(_) => FRESH,
        Flows::Among(..) => ESTABLISHED,
    }
}

fn floor(
    name: impl Into<String>,
    program: &'static str,
    packet: Packet,
    flows: Flows,
    fate: Fate,
) -> Subject {
    let (name, under, rig) = (name.into(), Under::Floor(program), rig_of(flows));
    Subject { name, under, packet, answer: None, flows, fate, reason: None, rig }
}

fn weir(
    name: impl Into<String>,
    (hook, instance): Place,
    packet: Packet,
    flows: Flows,
    fate: Fate,
) -> Subject {
    let reason = match fate {
        Fate::ToBackend(_) | Fate::FromUs(_) => Some(Reason::Forwarded),
        Fate::ToClient(_) => Some(Reason::Replied),
        Fate::Untouched(_) | Fate::Unknown => None,
    };
    let (name, under, rig) = (name.into(), Under::Weir(hook, instance), rig_of(flows));
    Subject { name, under, packet, answer: None, flows, fate, reason, rig }
}
