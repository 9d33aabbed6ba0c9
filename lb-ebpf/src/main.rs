//! Weir's kernel side: entry points and adapters. Decisions are in `lb_common::pipeline`.
#![no_std]
#![no_main]
#![allow(internal_features, reason = "BPF has atomics as intrinsics only")]
#![feature(asm_experimental_arch, core_intrinsics)]

mod context;
mod flows;
mod maps;
mod rates;
mod signals;
mod skb;
mod socket;
mod socket_tables;
mod tables;
mod tc;
mod xdp;

use aya_ebpf::{
    helpers::bpf_jiffies64,
    macros::{cgroup_sock_addr, classifier, xdp},
    programs::{SockAddrContext, TcContext, XdpContext},
};

/// The balancer on an XDP hook: the path of every packet.
#[xdp]
pub fn weir_xdp(context: XdpContext) -> u32 {
    xdp::enter(&context)
}

/// Beginnings and ends of flows.
#[xdp]
pub fn weir_xdp_track(context: XdpContext) -> u32 {
    xdp::track(&context)
}

/// First packets of flows.
#[xdp]
pub fn weir_xdp_open(context: XdpContext) -> u32 {
    xdp::open(&context)
}

/// Packets of unusual shape.
#[xdp]
pub fn weir_xdp_unusual(context: XdpContext) -> u32 {
    xdp::unusual(&context)
}

/// Errors about packets of flows.
#[xdp]
pub fn weir_xdp_icmp(context: XdpContext) -> u32 {
    xdp::icmp(&context)
}

/// Resets for who is served by nobody.
#[xdp]
pub fn weir_xdp_refuse(context: XdpContext) -> u32 {
    xdp::refuse(&context)
}

/// Limits of new flows.
#[xdp]
pub fn weir_xdp_limit(context: XdpContext) -> u32 {
    xdp::limit(&context)
}

/// Echo requests.
#[xdp]
pub fn weir_xdp_ping(context: XdpContext) -> u32 {
    xdp::ping(&context)
}

/// Flows whose client goes on.
#[xdp]
pub fn weir_xdp_settle(context: XdpContext) -> u32 {
    xdp::settle(&context)
}

/// Packets that travel in a packet of ours.
#[xdp]
pub fn weir_xdp_encap(context: XdpContext) -> u32 {
    xdp::encap(&context)
}

/// A word to who sends packets that are too large for that.
#[xdp]
pub fn weir_xdp_too_big(context: XdpContext) -> u32 {
    xdp::too_big(&context)
}

/// Ports for new flows of full NAT.
#[xdp]
pub fn weir_xdp_allocate(context: XdpContext) -> u32 {
    xdp::allocate(&context)
}

/// Packets of flows of full NAT.
#[xdp]
pub fn weir_xdp_full_nat(context: XdpContext) -> u32 {
    xdp::full_nat(&context)
}

/// Errors about packets of such flows.
#[xdp]
pub fn weir_xdp_full_nat_icmp(context: XdpContext) -> u32 {
    xdp::full_nat_icmp(&context)
}

/// Packets that leave in the other address family.
#[xdp]
pub fn weir_xdp_translate(context: XdpContext) -> u32 {
    xdp::translate(&context)
}

/// A word to who sends datagrams to nobody.
#[xdp]
pub fn weir_xdp_unreachable(context: XdpContext) -> u32 {
    xdp::unreachable(&context)
}

/// The balancer on a TC hook: the path of every packet.
#[classifier]
pub fn weir_tc(context: TcContext) -> i32 {
    tc::enter(&context)
}

/// Beginnings and ends of flows.
#[classifier]
pub fn weir_tc_track(context: TcContext) -> i32 {
    tc::track(&context)
}

/// First packets of flows.
#[classifier]
pub fn weir_tc_open(context: TcContext) -> i32 {
    tc::open(&context)
}

/// Packets of unusual shape.
#[classifier]
pub fn weir_tc_unusual(context: TcContext) -> i32 {
    tc::unusual(&context)
}

/// Errors about packets of flows.
#[classifier]
pub fn weir_tc_icmp(context: TcContext) -> i32 {
    tc::icmp(&context)
}

/// Resets for who is served by nobody.
#[classifier]
pub fn weir_tc_refuse(context: TcContext) -> i32 {
    tc::refuse(&context)
}

/// Limits of new flows.
#[classifier]
pub fn weir_tc_limit(context: TcContext) -> i32 {
    tc::limit(&context)
}

/// Echo requests.
#[classifier]
pub fn weir_tc_ping(context: TcContext) -> i32 {
    tc::ping(&context)
}

/// Flows whose client goes on.
#[classifier]
pub fn weir_tc_settle(context: TcContext) -> i32 {
    tc::settle(&context)
}

/// Packets that travel in a packet of ours.
#[classifier]
pub fn weir_tc_encap(context: TcContext) -> i32 {
    tc::encap(&context)
}

/// A word to who sends packets that are too large for that.
#[classifier]
pub fn weir_tc_too_big(context: TcContext) -> i32 {
    tc::too_big(&context)
}

/// Ports for new flows of full NAT.
#[classifier]
pub fn weir_tc_allocate(context: TcContext) -> i32 {
    tc::allocate(&context)
}

/// Packets of flows of full NAT.
#[classifier]
pub fn weir_tc_full_nat(context: TcContext) -> i32 {
    tc::full_nat(&context)
}

/// Errors about packets of such flows.
#[classifier]
pub fn weir_tc_full_nat_icmp(context: TcContext) -> i32 {
    tc::full_nat_icmp(&context)
}

/// Packets that leave in the other address family.
#[classifier]
pub fn weir_tc_translate(context: TcContext) -> i32 {
    tc::translate(&context)
}

/// A word to who sends datagrams to nobody.
#[classifier]
pub fn weir_tc_unreachable(context: TcContext) -> i32 {
    tc::unreachable(&context)
}

/// What leaves by an interface on which clients are: replies of this host's own processes.
#[classifier]
pub fn weir_tc_leave(context: TcContext) -> i32 {
    tc::leave(&context)
}

/// ICMP that leaves there.
#[classifier]
pub fn weir_tc_leave_icmp(context: TcContext) -> i32 {
    tc::leave_icmp(&context)
}

/// A process of this host connects a socket.
#[cgroup_sock_addr(connect4)]
pub fn weir_connect4(context: SockAddrContext) -> i32 {
    socket::connect::<socket::V4>(&context)
}

/// The same over IPv6, or over IPv4 from an IPv6 socket.
#[cgroup_sock_addr(connect6)]
pub fn weir_connect6(context: SockAddrContext) -> i32 {
    socket::connect::<socket::V6>(&context)
}

/// A process of this host sends a datagram to an address.
#[cgroup_sock_addr(sendmsg4)]
pub fn weir_sendmsg4(context: SockAddrContext) -> i32 {
    socket::send::<socket::V4>(&context)
}

/// The same over IPv6.
#[cgroup_sock_addr(sendmsg6)]
pub fn weir_sendmsg6(context: SockAddrContext) -> i32 {
    socket::send::<socket::V6>(&context)
}

/// A process of this host is told whom a datagram is from.
#[cgroup_sock_addr(recvmsg4)]
pub fn weir_recvmsg4(context: SockAddrContext) -> i32 {
    socket::name::<socket::V4>(&context)
}

/// The same at an IPv6 socket.
#[cgroup_sock_addr(recvmsg6)]
pub fn weir_recvmsg6(context: SockAddrContext) -> i32 {
    socket::name::<socket::V6>(&context)
}

/// A process of this host asks whom a socket is connected to.
#[cgroup_sock_addr(getpeername4)]
pub fn weir_getpeername4(context: SockAddrContext) -> i32 {
    socket::name::<socket::V4>(&context)
}

/// The same at an IPv6 socket.
#[cgroup_sock_addr(getpeername6)]
pub fn weir_getpeername6(context: SockAddrContext) -> i32 {
    socket::name::<socket::V6>(&context)
}

/// Writes the jiffies where the controller can read them; run by `BPF_PROG_TEST_RUN` only.
#[classifier]
pub fn weir_clock(_context: TcContext) -> i32 {
    if let Some(clock) = maps::CLOCK.get_ptr_mut(0) {
        // SAFETY: the pointer is to the element of the array.
        unsafe { *clock = jiffies() };
    }
    0
}

/// The kernel's tick counter.
#[inline]
fn jiffies() -> u64 {
    // SAFETY: the helper takes nothing and has no effect.
    unsafe { bpf_jiffies64() }
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
