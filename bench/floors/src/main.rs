//! The floors and the drivers of `weir-bench program`. README.md of the bench says what each means.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod driver;
mod floor;
mod frame;
mod layout;
mod maps;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use frame::Frame;

/// What a driver returns if the program under test is not there.
const NO_TARGET: u32 = 99;

/// Sends the next frame of the plan into an XDP program.
#[xdp]
pub fn drive_xdp(context: XdpContext) -> u32 {
    if Frame::of_xdp(context.ctx).and_then(driver::next_frame).is_some() {
        // SAFETY: nothing here waits to be dropped.
        unsafe { maps::XDP_TARGET.tail_call(&context, 0) };
    }
    NO_TARGET
}

/// Sends the next frame of the plan into a TC program.
#[classifier]
pub fn drive_tc(context: TcContext) -> i32 {
    if Frame::of_skb(context.skb.skb).and_then(driver::next_frame).is_some() {
        // SAFETY: as above.
        unsafe { maps::TC_TARGET.tail_call(&context, 0) };
    }
    NO_TARGET as i32
}

#[xdp]
pub fn stub(_context: XdpContext) -> u32 {
    XDP_TX
}

/// Lets the network stack have the frame.
#[xdp]
pub fn pass(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// Sends the frame on as it is.
#[xdp]
pub fn redirect(context: XdpContext) -> u32 {
    floor::redirect(context.ctx).unwrap_or(XDP_DROP)
}

#[classifier]
pub fn tc_stub(_context: TcContext) -> i32 {
    0
}

#[xdp]
pub fn parse(context: XdpContext) -> u32 {
    floor::parse(context.ctx).unwrap_or(XDP_DROP)
}

#[xdp]
pub fn hash(context: XdpContext) -> u32 {
    floor::hash(context.ctx).unwrap_or(XDP_DROP)
}

#[xdp]
pub fn dnat(context: XdpContext) -> u32 {
    floor::dnat(context.ctx).unwrap_or(XDP_DROP)
}

#[xdp]
pub fn new1(context: XdpContext) -> u32 {
    floor::new_flow::<1>(context.ctx).unwrap_or(XDP_DROP)
}

#[xdp]
pub fn new2(context: XdpContext) -> u32 {
    floor::new_flow::<2>(context.ctx).unwrap_or(XDP_DROP)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: the verifier refuses a program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

/// The helpers in use are for programs under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
