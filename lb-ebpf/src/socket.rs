//! The hooks at the sockets of this host's processes. A call is read from the context, decided in
//! `lb_common::pipeline::socket`, and the answer written back.

use core::{arch::asm, mem::offset_of};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock, bpf_sock_addr},
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval},
    programs::SockAddrContext,
};
use lb_common::{
    abi::address::Address,
    pipeline::{
        socket::{self, Answer, Call},
        verdict::{Class, Reason},
    },
    wire::protocol,
};

use crate::{jiffies, maps::host_netns, tables::TABLES};

/// The call goes on.
const ALLOW: i32 = 1;
/// The call fails, with "operation not permitted" unless another error is set.
const REFUSE: i32 = 0;
/// "Connection refused", as the kernel returns it.
const ECONNREFUSED: i32 = -111;

/// Where the context of a family's hooks has its addresses.
pub trait Family {
    /// The peer's address.
    fn peer(context: *mut bpf_sock_addr) -> Address;
    /// Replaces it.
    fn set_peer(context: *mut bpf_sock_addr, address: Address);
    /// What the socket is bound to.
    fn bound(context: *mut bpf_sock_addr) -> Address;
    /// What a datagram is sent from.
    fn from(context: *mut bpf_sock_addr) -> Address;
}

/// IPv4.
pub struct V4;
/// IPv6, with IPv4 in IPv4-mapped addresses.
pub struct V6;

impl Family for V4 {
    #[inline]
    fn peer(context: *mut bpf_sock_addr) -> Address {
        Address::from_v4_word(word::<{ offset_of!(bpf_sock_addr, user_ip4) }, _>(context))
    }

    #[inline]
    fn set_peer(context: *mut bpf_sock_addr, address: Address) {
        set_word::<{ offset_of!(bpf_sock_addr, user_ip4) }>(context, address.v4_word());
    }

    #[inline]
    fn bound(context: *mut bpf_sock_addr) -> Address {
        Address::from_v4_word(word::<{ offset_of!(bpf_sock, src_ip4) }, _>(sock(context)))
    }

    #[inline]
    fn from(context: *mut bpf_sock_addr) -> Address {
        Address::from_v4_word(word::<{ offset_of!(bpf_sock_addr, msg_src_ip4) }, _>(context))
    }
}

impl Family for V6 {
    #[inline]
    fn peer(context: *mut bpf_sock_addr) -> Address {
        words::<{ offset_of!(bpf_sock_addr, user_ip6) }, _>(context)
    }

    #[inline]
    fn set_peer(context: *mut bpf_sock_addr, address: Address) {
        const AT: usize = offset_of!(bpf_sock_addr, user_ip6);
        let [a, b, c, d] = address.words;
        set_word::<AT>(context, a);
        set_word::<{ AT + 4 }>(context, b);
        set_word::<{ AT + 8 }>(context, c);
        set_word::<{ AT + 12 }>(context, d);
    }

    #[inline]
    fn bound(context: *mut bpf_sock_addr) -> Address {
        words::<{ offset_of!(bpf_sock, src_ip6) }, _>(sock(context))
    }

    #[inline]
    fn from(context: *mut bpf_sock_addr) -> Address {
        words::<{ offset_of!(bpf_sock_addr, msg_src_ip6) }, _>(context)
    }
}

/// A socket is being connected.
#[inline]
pub fn connect<F: Family>(context: &SockAddrContext) -> i32 {
    let Some(mut call) = call::<F>(context) else { return ALLOW };
    call.source = F::bound(context.sock_addr);
    act::<F>(context, &socket::connect(&TABLES, &call))
}

/// A datagram is being sent to an address.
#[inline]
pub fn send<F: Family>(context: &SockAddrContext) -> i32 {
    let Some(mut call) = call::<F>(context) else { return ALLOW };
    call.source = F::from(context.sock_addr);
    act::<F>(context, &socket::send(&TABLES, &call))
}

/// A peer's address is being told.
#[inline]
pub fn name<F: Family>(context: &SockAddrContext) -> i32 {
    if let Some(call) = call::<F>(context)
        && let Some((address, port)) = socket::name(&TABLES, &call)
    {
        tell::<F>(context, address, port);
    }
    ALLOW
}

/// The call, if it is one of this host and of a protocol that is balanced.
#[inline]
fn call<F: Family>(context: &SockAddrContext) -> Option<Call> {
    let at = context.sock_addr;
    // SAFETY: the helper takes the context of this program.
    if unsafe { bpf_get_netns_cookie(context.as_ptr()) } != host_netns() {
        return None;
    }
    let number = word::<{ offset_of!(bpf_sock_addr, protocol) }, _>(at) as u8;
    if number != protocol::TCP && number != protocol::UDP {
        return None;
    }
    Some(Call {
        // SAFETY: as above.
        cookie: unsafe { bpf_get_socket_cookie(context.as_ptr()) },
        source: Address::default(),
        address: F::peer(at),
        port: word::<{ offset_of!(bpf_sock_addr, user_port) }, _>(at) as u16,
        protocol: number,
        now: jiffies() as u32,
    })
}

/// Turns an answer into what the kernel is told.
#[inline]
fn act<F: Family>(context: &SockAddrContext, answer: &Answer) -> i32 {
    match answer.reason.class() {
        Class::Pass => ALLOW,
        Class::Forward => {
            tell::<F>(context, answer.address, answer.port);
            ALLOW
        }
        Class::Drop => {
            if answer.reason != Reason::SourceDenied {
                // SAFETY: the helper takes no pointers.
                unsafe { bpf_set_retval(ECONNREFUSED) };
            }
            REFUSE
        }
    }
}

#[inline]
fn tell<F: Family>(context: &SockAddrContext, address: Address, port: u16) {
    F::set_peer(context.sock_addr, address);
    set_word::<{ offset_of!(bpf_sock_addr, user_port) }>(context.sock_addr, u32::from(port));
}

/// The socket of a call.
#[inline]
fn sock(context: *mut bpf_sock_addr) -> *mut bpf_sock {
    let sock: *mut bpf_sock;
    // SAFETY: the context is the kernel's for the time of the call; its last field is the socket.
    unsafe {
        asm!("{0} = *(u64 *)({1} + {2})", out(reg) sock, in(reg) context,
            const offset_of!(bpf_sock_addr, __bindgen_anon_1), options(pure, readonly, nostack));
    }
    sock
}

/// Four words of a context or a socket.
#[inline]
fn words<const OFFSET: usize, T>(of: *mut T) -> Address {
    let mut words = [0; 4];
    // SAFETY: each reads a field of what the kernel lends for the time of the call. The verifier
    // wants its pointer unmoved, hence one instruction with the whole offset.
    unsafe {
        asm!("{0} = *(u32 *)({1} + {2})", out(reg) words[0], in(reg) of,
            const OFFSET, options(pure, readonly, nostack));
        asm!("{0} = *(u32 *)({1} + {2})", out(reg) words[1], in(reg) of,
            const OFFSET + 4, options(pure, readonly, nostack));
        asm!("{0} = *(u32 *)({1} + {2})", out(reg) words[2], in(reg) of,
            const OFFSET + 8, options(pure, readonly, nostack));
        asm!("{0} = *(u32 *)({1} + {2})", out(reg) words[3], in(reg) of,
            const OFFSET + 12, options(pure, readonly, nostack));
    }
    Address { words }
}

/// A word of a context or a socket.
#[inline]
fn word<const OFFSET: usize, T>(of: *mut T) -> u32 {
    let value: u64;
    // SAFETY: as above.
    unsafe {
        asm!("{0} = *(u32 *)({1} + {2})", out(reg) value, in(reg) of,
            const OFFSET, options(pure, readonly, nostack));
    }
    value as u32
}

/// Replaces a word of the context.
#[inline]
fn set_word<const OFFSET: usize>(context: *mut bpf_sock_addr, value: u32) {
    // SAFETY: as above; the kernel reads the field when the program has ended.
    unsafe {
        asm!("*(u32 *)({0} + {2}) = {1}", in(reg) context, in(reg) u64::from(value),
            const OFFSET, options(nostack));
    }
}
