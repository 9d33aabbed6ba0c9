//! The pipeline's tables in BPF maps: all map access, and all its `unsafe`, is here.

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_loop},
    maps::lpm_trie::Key,
};
use lb_common::{
    abi::{
        backend::Backend,
        flow::{Conn, FlowKey4, FlowKey6, Origin, SharedConn},
        fragment::{Fragment, FragmentKey},
        gate::Gate,
        rate::Token,
        service::{
            Affinity, AffinityKey, ListenKey, PAGE_SLOTS, PORT_WORDS, RangeKey, Service, SourceKey,
        },
        settings::Settings,
        stats::Traffic,
        trace::Trace,
    },
    packet::Headers,
    pipeline::{
        flow_key::{FamilyKey, FlowKey},
        verdict::{Reason, Verdict},
        workspace::Workspace,
    },
    tables::{Insert, Signal, Stage, Step, Tables},
    wire::protocol,
};

use crate::{
    context::opaque,
    flows::{find, insert, remove, shared},
    maps::{
        AFFINITY, BACKEND_STATS, BACKENDS, CONNS4, CONNS6, CURSORS, FRAGMENTS, GATES, HEARTBEAT,
        LISTEN, LISTEN_RANGE, ORIGINS, PAGES, PORTS, REASONS, SCRATCH, SERVICE_STATS, SETTINGS,
        SOURCES, TRACE, trace_on,
    },
    rates, signals,
};

/// The kernel's number for "is there already".
const EEXIST: i32 = -17;

/// The maps of this object, for programs that deal with flows of full NAT, with others, or with both.
pub struct KernelTables<const FULL_NAT: bool, const OTHERS: bool>;

/// The tables of most programs.
pub const TABLES: KernelTables<false, true> = KernelTables;
/// The tables of programs for full NAT.
pub const FULL_NAT: KernelTables<true, false> = KernelTables;
/// The tables of programs for all flows.
pub const ALL: KernelTables<true, true> = KernelTables;

/// The same address, whose memory may have changed meanwhile, for all the compiler knows.
#[inline]
fn opaque_memory(mut address: usize) -> usize {
    // SAFETY: moves a register to itself, as `opaque` does.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) address, options(nostack, preserves_flags)) };
    address
}

/// Adds to a counter that others change too.
#[inline]
pub fn add(counter: *mut u64, value: u64) {
    // SAFETY: the pointer is into a map element, 8-byte aligned.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Adds to a counter that other CPUs change too, and returns what it was.
///
/// A relaxed addition is compiled to an instruction that returns nothing, whether or not its
/// result is used: only the stronger order makes it a fetch.
///
/// # Safety
/// The pointer is into a map element, 8-byte aligned.
#[inline]
unsafe fn fetch_add(counter: *mut u64, value: u64) -> u64 {
    // SAFETY: as promised by the caller.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, value) }
}

/// The key as the family it is of.
#[inline]
fn key4<K: FamilyKey>(key: &K) -> &FlowKey4 {
    // SAFETY: called for K = FlowKey4 only, which `K::V6` tells.
    unsafe { &*core::ptr::from_ref(key).cast() }
}

#[inline]
fn key6<K: FamilyKey>(key: &K) -> &FlowKey6 {
    // SAFETY: called for K = FlowKey6 only, which `K::V6` tells.
    unsafe { &*core::ptr::from_ref(key).cast() }
}

impl<const FULL: bool, const REST: bool> Tables for KernelTables<FULL, REST> {
    const FULL_NAT: bool = FULL;
    const OTHERS: bool = REST;
    type Entry<'a> = &'a SharedConn;

    #[inline]
    fn hand_over(&self, headers: Headers) {
        if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
            // SAFETY: the element is this CPU's own.
            unsafe { (*scratch).headers = headers };
        }
    }

    #[inline]
    fn handed_over(&self) -> Headers {
        let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return Headers::default() };
        // SAFETY: the element is this CPU's own. The verifier knows what lies in registers and on
        // the stack, but nothing of what lies in a map; and the compiler, which would make a copy
        // of all that follows for each family, has to load it again.
        unsafe { *(opaque_memory(&raw const (*scratch).headers as usize) as *const Headers) }
    }

    #[inline]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline]
    fn port_in_use(&self, number: u8, source: u16, destination: u16) -> bool {
        let Some(set) = PORTS.get(u32::from(number == protocol::UDP)) else { return false };
        let (source, destination) = (u16::from_be(source), u16::from_be(destination));
        let service = set.services[(destination >> 6) as usize & (PORT_WORDS - 1)];
        let backend = set.backends[(source >> 6) as usize & (PORT_WORDS - 1)];
        (service >> (destination & 63) | backend >> (source & 63)) & 1 != 0
    }

    #[inline]
    fn established<K: FamilyKey>(&self, key: &K) -> Option<&SharedConn> {
        shared(if K::V6 { CONNS6.get_ptr(key6(key)) } else { CONNS4.get_ptr(key4(key)) })
    }

    #[inline]
    fn conn(&self, stage: Stage, key: &FlowKey) -> Option<&SharedConn> {
        find(stage == Stage::Embryo, key)
    }

    #[inline(always)]
    fn with_workspace<R>(&self, f: impl FnOnce(&mut Workspace) -> R) -> Option<R> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: the element is this CPU's own, and nothing else refers to it. It is zero at
        // first, which is a valid workspace, and only the pipeline writes to it.
        Some(f(unsafe { &mut *scratch }))
    }

    #[inline]
    fn insert_conn(&self, stage: Stage, key: &FlowKey, conn: &Conn) -> Insert {
        match insert(stage == Stage::Embryo, key, conn) {
            0 => Insert::Done,
            EEXIST => Insert::Exists,
            _ => Insert::Failed,
        }
    }

    #[inline]
    fn remove_conn(&self, stage: Stage, key: &FlowKey) {
        // The entry may be gone already; that is as good.
        remove(stage == Stage::Embryo, key);
    }

    #[inline]
    fn origin(&self, backend: &ListenKey) -> Option<Origin> {
        // SAFETY: elements of this map are never written in place.
        unsafe { ORIGINS.get(backend) }.copied()
    }

    #[inline]
    fn add_origin(&self, backend: &ListenKey, origin: &Origin) -> bool {
        ORIGINS.insert(backend, origin, u64::from(BPF_NOEXIST)).is_ok()
    }

    #[inline]
    fn with_gate<R>(&self, datagrams: bool, f: impl FnOnce(&mut Gate) -> R) -> Option<R> {
        let gate = GATES.get_ptr_mut(u32::from(datagrams))?;
        // SAFETY: the pointer is to a map element, and nothing else of this program refers to it.
        Some(f(unsafe { &mut *gate }))
    }

    #[inline]
    fn flow_unmet(&self, datagrams: bool) {
        rates::flow_unmet(datagrams);
    }

    #[inline]
    fn flow_met(&self, datagrams: bool) {
        rates::flow_met(datagrams);
    }

    #[inline]
    fn take_of_service(&self, service: u32, token: &Token) -> bool {
        rates::take_of_service(service, token)
    }

    #[inline]
    fn take_of_source(&self, source: &AffinityKey, token: &Token) -> bool {
        rates::take_of_source(source, token)
    }

    #[inline]
    fn refused_flow(&self, service: u32, of_source: bool) {
        rates::refused(service, of_source);
    }

    #[inline]
    fn clock_ns(&self) -> u64 {
        // SAFETY: the helper takes nothing and has no effect.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline]
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        // SAFETY: elements of this map are replaced, never written in place.
        unsafe { FRAGMENTS.get(key) }.copied()
    }

    #[inline]
    fn add_fragment(&self, key: &FragmentKey, fragment: &Fragment) {
        // Without room the later fragments are left to the stack.
        let _ = FRAGMENTS.insert(key, fragment, 0);
    }

    #[inline]
    fn listen(&self, key: &ListenKey) -> Option<&Service> {
        // SAFETY: elements of this map are replaced, never written in place.
        unsafe { LISTEN.get(key) }
    }

    #[inline]
    fn listen_range(&self, key: &RangeKey) -> Option<&Service> {
        LISTEN_RANGE.get(Key::new(RangeKey::BITS_BEFORE_PORT + 16, *key))
    }

    #[inline]
    fn source_allowed(&self, key: &SourceKey) -> bool {
        SOURCES.get(Key::new(SourceKey::BITS_BEFORE_ADDRESS + 128, *key)).is_some()
    }

    #[inline]
    fn affinity(&self, key: &AffinityKey) -> Option<Affinity> {
        // SAFETY: elements of this map are replaced, never written in place.
        unsafe { AFFINITY.get(key) }.copied()
    }

    #[inline]
    fn set_affinity(&self, key: &AffinityKey, value: &Affinity) {
        // A client that finds no room is balanced like a new one.
        let _ = AFFINITY.insert(key, value, 0);
    }

    #[inline]
    fn slot(&self, page: u32, slot: u32) -> Option<u32> {
        let page = PAGES.get(page)?;
        Some(page.slots.0[(slot & (PAGE_SLOTS - 1)) as usize])
    }

    #[inline]
    fn repeat<S: Step<Self>>(&self, count: u32, step: &mut S) {
        let body: unsafe extern "C" fn(u64, *mut S) -> i64 = turn_of_loop::<S, FULL, REST>;
        // SAFETY: the kernel calls `body` with `step` only while this call lasts.
        unsafe {
            bpf_loop(count, body as *mut c_void, core::ptr::from_mut(step).cast(), 0);
        }
    }

    #[inline]
    fn turn(&self, service: u32, v6: bool) -> u64 {
        let Some(cursor) = CURSORS.get_ptr_mut(service) else { return 0 };
        // The compiler knows that a flag is 0 or 1, the verifier wants to see it.
        let family = opaque(usize::from(v6)) & 1;
        // SAFETY: the element is two counters, those of IPv4 and of IPv6.
        unsafe { fetch_add(cursor.cast::<u64>().add(family), 1) }
    }

    #[inline]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes nothing.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline]
    fn backend(&self, id: u32) -> Option<&Backend> {
        BACKENDS.get(id)
    }

    #[inline]
    fn load(&self, backend: u32, requests: bool) -> u64 {
        let load = signals::load(backend, requests);
        // Two CPUs that end the last one at the same moment leave less than nothing.
        if load.cast_signed() < 0 { 0 } else { load }
    }

    #[inline]
    fn flow_begins(&self, service: u32, backend: u32) {
        signals::raise(backend, false);
        on_traffic(service, backend, |traffic| traffic.flows += 1);
    }

    #[inline]
    fn flow_ends(&self, backend: u32) {
        signals::lower(backend, false);
    }

    #[inline]
    fn request_begins(&self, backend: u32) {
        signals::raise(backend, true);
    }

    #[inline]
    fn request_ends(&self, backend: u32) {
        signals::lower(backend, true);
    }

    #[inline]
    fn signal(&self, backend: u32, signal: Signal, micros: u32) {
        signals::note(backend, signal as u32, micros);
    }

    #[inline]
    fn clock_us(&self) -> u32 {
        // SAFETY: the helper takes nothing and has no effect.
        (unsafe { bpf_ktime_get_ns() } / 1000) as u32
    }

    #[inline]
    fn heartbeat(&self) -> u32 {
        HEARTBEAT.get(0).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn count(&self, verdict: &Verdict, length: u32) {
        if let Some(counter) = REASONS.get_ptr_mut(verdict.reason as u32) {
            // SAFETY: the element is this CPU's own.
            unsafe { *counter += 1 };
        }
        let bytes = u64::from(length);
        match verdict.reason {
            Reason::Forwarded => on_traffic(verdict.service, verdict.backend, |traffic| {
                traffic.packets_in += 1;
                traffic.bytes_in += bytes;
            }),
            Reason::Replied => on_traffic(verdict.service, verdict.backend, |traffic| {
                traffic.packets_out += 1;
                traffic.bytes_out += bytes;
            }),
            _ => {}
        }
        if trace_on() {
            trace(verdict);
        }
    }
}

/// What `bpf_loop` calls: 0 goes on, 1 ends.
unsafe extern "C" fn turn_of_loop<S, const FULL: bool, const REST: bool>(
    index: u64,
    step: *mut S,
) -> i64
where
    S: Step<KernelTables<FULL, REST>>,
{
    // SAFETY: `step` is the pointer that `repeat` passed, to which nobody else refers now.
    i64::from(unsafe { &mut *step }.step(&KernelTables, index as u32))
}

/// Changes the counters of a service and of a backend.
#[inline]
fn on_traffic(service: u32, backend: u32, change: impl Fn(&mut Traffic)) {
    if let Some(traffic) = SERVICE_STATS.get_ptr_mut(service) {
        // SAFETY: the element is this CPU's own.
        change(unsafe { &mut *traffic });
    }
    if let Some(traffic) = BACKEND_STATS.get_ptr_mut(backend) {
        // SAFETY: the element is this CPU's own.
        change(unsafe { &mut *traffic });
    }
}

fn trace(verdict: &Verdict) {
    let reason = verdict.reason as u32;
    let Verdict { service, backend, ifindex, .. } = *verdict;
    let trace = Trace { reason, service, backend, ifindex };
    // The map has the element; nothing is lost if it had not.
    let _ = TRACE.set(0, trace, 0);
}
