//! The kernel side of `weir decap`, an object of its own: a backend's host needs nothing else.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod context;
mod skb;

use aya_ebpf::{
    bindings::{BPF_F_ADJ_ROOM_FIXED_GSO, TC_ACT_SHOT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC},
    helpers::bpf_skb_adjust_room,
    macros::{classifier, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    programs::TcContext,
};
use lb_common::{
    abi::{
        address::Address,
        decap::{DecapSettings, LOCALS_MAX, PEERS_MAX, PeerKey},
    },
    decap::{Class, Decap, Reason, Tunnel, unwrap},
};
use skb::TcPacket;

/// Let the next program or the stack have it (`TCX_NEXT`; `TC_ACT_UNSPEC` on clsact).
const NEXT: i32 = -1;
/// A trie allocates its nodes as they come.
const BPF_F_NO_PREALLOC: u32 = 1;

#[map]
static DECAP_SETTINGS: Array<DecapSettings> = Array::with_max_entries(1, 0);
#[map]
static DECAP_PEERS: LpmTrie<PeerKey, u32> = LpmTrie::with_max_entries(PEERS_MAX, BPF_F_NO_PREALLOC);
#[map]
static DECAP_LOCALS: HashMap<Address, u32> = HashMap::with_max_entries(LOCALS_MAX, 0);
#[map]
static DECAP_REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNT as u32, 0);

/// Unwraps what balancers send to this host, and leaves everything else alone.
#[classifier]
pub fn weir_decap(context: TcContext) -> i32 {
    let mut packet = TcPacket::new(&context);
    let reason = unwrap(&mut packet, &Maps);
    if let Some(counter) = DECAP_REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: the element is this CPU's own.
        unsafe { *counter += 1 };
    }
    match reason.class() {
        Class::Unwrapped | Class::Pass => NEXT,
        Class::Drop => TC_ACT_SHOT,
    }
}

struct Maps;

impl Decap for Maps {
    #[inline]
    fn gue_port(&self) -> u16 {
        DECAP_SETTINGS.get(0).map_or(0, |settings| settings.gue_port)
    }

    #[inline]
    fn is_local(&self, address: &Address) -> bool {
        DECAP_LOCALS.get_ptr(address).is_some()
    }

    #[inline]
    fn is_peer(&self, address: &Address) -> bool {
        DECAP_PEERS.get(Key::new(128, PeerKey { address: *address })).is_some()
    }
}

impl Tunnel for TcPacket {
    #[inline]
    fn shrink(&mut self, bytes: usize) -> Option<()> {
        let (by, flags) = (-(bytes as i32), u64::from(BPF_F_ADJ_ROOM_FIXED_GSO));
        // SAFETY: the context is the kernel's; no reference into the packet is alive.
        (unsafe { bpf_skb_adjust_room(self.skb, by, BPF_ADJ_ROOM_MAC, flags) } == 0).then_some(())
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: the verifier refuses a program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

/// The helpers in use are for programs under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
