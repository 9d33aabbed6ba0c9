//! The list of what is measured, and what has to be there before.

use anyhow::Result;
use lb_common::{
    maps::{CONNS_MAX, EMBRYOS_MAX},
    pipeline::verdict::Reason,
};

use super::{
    bed::Bed,
    frame::{ACK, Flows, Packet, SYN},
    subject::{
        ESTABLISHED, FRESH, Fate, Subject, TC_REDIRECT, Under, XDP_PASS, XDP_REDIRECT, XDP_TX,
    },
};
use crate::weir::Hook;

/// Flows that fit into the first cache.
const HOT: Flows = Flows::Among(0, HOT_COUNT);
const HOT_COUNT: u32 = 64;
/// Flows whose clients are on another interface than the one that replies come in by.
const REPLIED: Flows = Flows::Among(REPLIED_FIRST, HOT_COUNT);
const REPLIED_FIRST: u32 = 4_096;
/// Flows that fit into no cache.
const MANY: Flows = Flows::Among(MANY_FIRST, MANY_COUNT);
const MANY_FIRST: u32 = 1 << 20;
const MANY_COUNT: u32 = 100_000;

/// Records the flows that the subjects need.
pub(crate) fn prepare(bed: &mut Bed) -> Result<()> {
    let (v4, v6, udp) = (bed.tcp_v4(), bed.tcp_v6(), bed.udp_v4());
    bed.establish(Hook::Xdp, v4, 0, HOT_COUNT)?;
    bed.establish(Hook::Xdp, v6, 0, HOT_COUNT)?;
    bed.send(Hook::Xdp, Packet::udp(udp), 0, HOT_COUNT)?;
    bed.send(Hook::Xdp, Packet::udp(udp).reply(bed.backend_of(udp)), 0, HOT_COUNT)?;
    bed.send(Hook::Xdp, Packet::udp(udp), 0, HOT_COUNT)?;
    bed.establish(Hook::Xdp, v4, MANY_FIRST, MANY_COUNT)?;
    bed.establish(Hook::Tc, v4, REPLIED_FIRST, HOT_COUNT)?;
    bed.record(ESTABLISHED, 0, HOT_COUNT)?;
    bed.record(ESTABLISHED, MANY_FIRST, MANY_COUNT)?;
    // Evictions begin when a table is full. The floors have one table for all flows, as large as
    // ours is for established ones.
    bed.record(FRESH, 1 << 23, CONNS_MAX)?;
    bed.send(Hook::Xdp, Packet::tcp(SYN, v4), 1 << 23, 2 * EMBRYOS_MAX)
}

/// The subjects. Flows of `Flows::Next` go on from run to run; each has 16 million.
pub(crate) fn list(bed: &Bed) -> Result<Vec<Subject>> {
    let established = Packet::tcp(ACK, bed.tcp_v4());
    let reply = established.reply(bed.backend_of(bed.tcp_v4()));
    let stranger = Packet::tcp(ACK, Bed::stranger()?);
    let fresh = Packet::tcp(SYN, bed.tcp_v4());
    let v6 = Packet::tcp(ACK, bed.tcp_v6());
    let udp = Packet::udp(bed.udp_v4());
    let to_backend = Fate::ToBackend(XDP_REDIRECT);
    let next = |range: u32| Flows::Next(range << 24);
    let (xdp, tc) = (Hook::Xdp, Hook::Tc);
    Ok(vec![
        floor("parse", "parse", established, HOT, Fate::Untouched(XDP_TX)),
        floor("hash", "hash", stranger, HOT, Fate::Untouched(XDP_PASS)),
        floor("dnat", "dnat", established, HOT, to_backend),
        floor("dnat again", "dnat", established, HOT, to_backend),
        floor("dnat, 100,000 flows", "dnat", established, MANY, to_backend),
        floor("new1", "new1", fresh, next(1), to_backend),
        floor("new2", "new2", fresh, next(2), to_backend),
        weir("xdp established v4", xdp, established, HOT, to_backend, Reason::Forwarded),
        weir("xdp established v4 again", xdp, established, HOT, to_backend, Reason::Forwarded),
        weir("xdp reply v4", xdp, reply, REPLIED, Fate::ToClient(XDP_REDIRECT), Reason::Replied),
        weir("xdp established v6", xdp, v6, HOT, to_backend, Reason::Forwarded),
        weir("xdp established udp", xdp, udp, HOT, to_backend, Reason::Forwarded),
        weir("xdp new flow", xdp, fresh, next(3), to_backend, Reason::Forwarded),
        weir("xdp not ours", xdp, stranger, HOT, Fate::Untouched(XDP_PASS), Reason::NotService),
        weir("xdp 100,000 flows", xdp, established, MANY, to_backend, Reason::Forwarded),
        weir("tc established v4", tc, established, HOT, TO_BACKEND_TC, Reason::Forwarded),
        weir("tc reply v4", tc, reply, REPLIED, Fate::ToClient(TC_REDIRECT), Reason::Replied),
        weir("tc new flow", tc, fresh, next(4), TO_BACKEND_TC, Reason::Forwarded),
        weir("tc not ours", tc, stranger, HOT, Fate::Untouched(u32::MAX), Reason::NotService),
    ])
}

const TO_BACKEND_TC: Fate = Fate::ToBackend(TC_REDIRECT);

/// New flows are not to push the established ones out of the floors' table.
const fn rig_of(flows: Flows) -> usize {
    match flows {
        Flows::Next(_) => FRESH,
        Flows::Among(..) => ESTABLISHED,
    }
}

const fn floor(
    name: &'static str,
    program: &'static str,
    packet: Packet,
    flows: Flows,
    fate: Fate,
) -> Subject {
    let under = Under::Floor(program);
    Subject { name, under, packet, flows, fate, reason: None, rig: rig_of(flows) }
}

const fn weir(
    name: &'static str,
    hook: Hook,
    packet: Packet,
    flows: Flows,
    fate: Fate,
    reason: Reason,
) -> Subject {
    let under = Under::Weir(hook);
    Subject { name, under, packet, flows, fate, reason: Some(reason), rig: rig_of(flows) }
}
