//! The floors: each does only what no balancer can do without.
//!
//! `inline(always)`: a call costs as much as ten instructions, and a floor has none.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::{
    bindings::{
        BPF_NOEXIST,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers::{bpf_jiffies64, generated::bpf_redirect_map},
};

use crate::{
    frame::Frame,
    layout::{FRAME_LEN, ListenKey, Service},
    maps::{BACKEND_STATS, BACKENDS, Entry, FLOWS, FlowKey, LINKS, LISTEN, SERVICE_STATS, SLOTS},
};

/// Reads the headers.
#[inline]
pub fn parse(context: *mut xdp_md) -> Option<u32> {
    let key = Frame::of_xdp(context)?.parse()?;
    black_box(key.ports);
    Some(XDP_TX)
}

/// Finds that nobody listens.
#[inline]
pub fn hash(context: *mut xdp_md) -> Option<u32> {
    let key = Frame::of_xdp(context)?.parse()?;
    Some(if listener(&key).is_some() { XDP_TX } else { XDP_PASS })
}

/// A packet of a known flow on its way to its backend.
#[inline]
pub fn dnat(context: *mut xdp_md) -> Option<u32> {
    let frame = Frame::of_xdp(context)?;
    let key = frame.parse()?;
    let entry = FLOWS.get_ptr_mut(&key)?;
    // SAFETY: the entry lives until the program ends, and no other CPU runs it meanwhile.
    let entry: &mut Entry = unsafe { &mut *entry };
    entry.last_seen = jiffies();
    deliver(frame, &key, entry.service, entry.backend, entry.address, entry.port)
}

/// The first packet of a flow, with `ENTRIES` entries for it.
#[inline(always)]
pub fn new_flow<const ENTRIES: u32>(context: *mut xdp_md) -> Option<u32> {
    let frame = Frame::of_xdp(context)?;
    let key = frame.parse()?;
    if FLOWS.get_ptr(&key).is_some() {
        return Some(XDP_ABORTED);
    }
    let service = listener(&key)?;
    let slot = (u64::from(mix(&key)) * u64::from(service.slots)) >> 32;
    let id = *SLOTS.get(slot as u32)?;
    let backend = BACKENDS.get(id)?;
    let mut entry = Entry {
        address: backend.address,
        port: backend.port,
        backend: id,
        service: service.id,
        last_seen: jiffies(),
        // Out of the optimiser's sight: it would call a function that clears byte by byte.
        rest: [black_box(0); 5],
    };
    FLOWS.insert(&key, &entry, u64::from(BPF_NOEXIST)).ok()?;
    if ENTRIES == 2 {
        let reply = FlowKey {
            source: backend.address,
            destination: key.source,
            ports: backend.port | key.ports << 16,
            protocol: key.protocol,
        };
        entry.address = key.destination;
        entry.port = key.ports >> 16;
        FLOWS.insert(&reply, &entry, u64::from(BPF_NOEXIST)).ok()?;
    }
    deliver(frame, &key, service.id, id, backend.address, backend.port)
}

#[inline(always)]
fn listener(key: &FlowKey) -> Option<&'static Service> {
    let key = ListenKey {
        address: key.destination,
        port: (key.ports >> 16) as u16,
        protocol: key.protocol as u16,
    };
    // SAFETY: elements of this map are not written to while programs run.
    unsafe { LISTEN.get(key) }
}

/// Counts, rewrites, sends.
#[inline(always)]
fn deliver(
    frame: Frame,
    key: &FlowKey,
    service: u32,
    id: u32,
    address: u32,
    port: u32,
) -> Option<u32> {
    let backend = BACKENDS.get(id)?;
    if backend.state == 0 {
        return Some(XDP_DROP);
    }
    for traffic in [SERVICE_STATS.get_ptr_mut(service), BACKEND_STATS.get_ptr_mut(id)] {
        // SAFETY: the element is this CPU's own.
        let traffic = unsafe { &mut *traffic? };
        traffic.packets += 1;
        traffic.bytes += FRAME_LEN as u64;
    }
    frame.send_to(key, address, port, backend.macs, backend.macs2);
    Some(leave(0))
}

/// A frame leaves as it is, by one of three links: the clients' addresses are spread over them.
#[inline]
pub fn redirect(context: *mut xdp_md) -> Option<u32> {
    let key = Frame::of_xdp(context)?.parse()?;
    Some(leave(u32::from_be(key.source) % 3))
}

#[inline(always)]
fn leave(link: u32) -> u32 {
    // SAFETY: the pointer is to a map of the right kind.
    unsafe {
        bpf_redirect_map((&raw const LINKS).cast_mut().cast::<c_void>(), link.into(), 0) as u32
    }
}

/// A hash of a flow, good enough to spread flows over slots.
#[inline]
fn mix(key: &FlowKey) -> u32 {
    let mut state = key.source.wrapping_mul(0xcc9e_2d51) ^ key.ports.wrapping_mul(0x1b87_3593);
    state ^= state >> 16;
    state = state.wrapping_mul(0x85eb_ca6b);
    state ^ state >> 13
}

#[inline]
fn jiffies() -> u64 {
    // SAFETY: the helper takes nothing and has no effect.
    unsafe { bpf_jiffies64() }
}
