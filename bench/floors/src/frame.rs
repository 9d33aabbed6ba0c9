//! Frames: fixed offsets behind one bounds check, in single loads and stores of any alignment.

use aya_ebpf::bindings::{__sk_buff, xdp_md};

use crate::{layout::FRAME_LEN, maps::FlowKey};

const ETHER_TYPE: usize = 12;
const IP: usize = 14;
const FRAGMENT: usize = IP + 6;
const TTL: usize = IP + 8;
const PROTOCOL: usize = IP + 9;
const IP_CHECK: usize = IP + 10;
const SOURCE: usize = IP + 12;
const DESTINATION: usize = IP + 16;
const PORTS: usize = IP + 20;
const DESTINATION_PORT: usize = PORTS + 2;
const UDP_CHECK: usize = PORTS + 6;
const TCP_CHECK: usize = PORTS + 16;

const TCP: u64 = 6;
const UDP: u64 = 17;

/// Where a frame begins; it has [`FRAME_LEN`] bytes.
#[derive(Clone, Copy)]
pub struct Frame(usize);

macro_rules! load {
    ($load:ident, $size:literal) => {
        #[inline]
        pub fn $load<const AT: usize>(self) -> u64 {
            const { assert!(AT + $size / 8 <= FRAME_LEN) };
            let value: u64;
            // SAFETY: inside the frame, whose length was checked.
            unsafe {
                core::arch::asm!(concat!("{0} = *(u", $size, " *)({1} + {2})"),
                    out(reg) value, in(reg) self.0, const AT, options(readonly, nostack));
            }
            value
        }
    };
}

macro_rules! store {
    ($store:ident, $size:literal) => {
        #[inline]
        pub fn $store<const AT: usize>(self, value: u64) {
            const { assert!(AT + $size / 8 <= FRAME_LEN) };
            // SAFETY: as above.
            unsafe {
                core::arch::asm!(concat!("*(u", $size, " *)({0} + {1}) = {2}"),
                    in(reg) self.0, const AT, in(reg) value, options(nostack));
            }
        }
    };
}

/// Reads a 32-bit field of the context where it lies.
macro_rules! field {
    ($type:ty, $context:expr, $field:ident) => {{
        let value: usize;
        // SAFETY: the context is the kernel's for the time of the call.
        unsafe {
            core::arch::asm!("{0} = *(u32 *)({1} + {2})", out(reg) value, in(reg) $context,
                const core::mem::offset_of!($type, $field), options(pure, readonly, nostack));
        }
        value
    }};
}

impl Frame {
    load!(load8, 8);
    load!(load16, 16);
    load!(load32, 32);
    store!(store8, 8);
    store!(store16, 16);
    store!(store32, 32);
    store!(store64, 64);

    /// The frame of an XDP program.
    #[inline]
    pub fn of_xdp(context: *mut xdp_md) -> Option<Self> {
        Self::between(field!(xdp_md, context, data), field!(xdp_md, context, data_end))
    }

    /// The frame of a TC program.
    #[inline]
    pub fn of_skb(context: *mut __sk_buff) -> Option<Self> {
        Self::between(field!(__sk_buff, context, data), field!(__sk_buff, context, data_end))
    }

    #[inline]
    fn between(data: usize, end: usize) -> Option<Self> {
        if data + FRAME_LEN > end { None } else { Some(Self(data)) }
    }

    /// The flow of an unfragmented TCP or UDP packet over IPv4 without options.
    #[inline(always)]
    pub fn parse(self) -> Option<FlowKey> {
        let protocol = self.load8::<PROTOCOL>();
        let is_plain = self.load16::<ETHER_TYPE>() == u64::from(0x0800_u16.to_be())
            && self.load8::<IP>() == 0x45
            && self.load16::<FRAGMENT>() & u64::from(0x3fff_u16.to_be()) == 0
            && self.load8::<TTL>() > 1;
        if !is_plain || (protocol != TCP && protocol != UDP) {
            return None;
        }
        Some(FlowKey {
            source: self.load32::<SOURCE>() as u32,
            destination: self.load32::<DESTINATION>() as u32,
            ports: self.load32::<PORTS>() as u32,
            protocol: protocol as u32,
        })
    }

    /// Changes destination and MAC addresses, and both checksums by what that changes (RFC 1624).
    #[inline(always)]
    pub fn send_to(self, key: &FlowKey, address: u32, port: u32, macs: u64, macs2: u32) {
        self.store64::<0>(macs);
        self.store32::<8>(u64::from(macs2));
        self.store8::<TTL>(self.load8::<TTL>() - 1);
        self.store32::<DESTINATION>(u64::from(address));
        self.store16::<DESTINATION_PORT>(u64::from(port));
        let moved = u64::from(!key.destination) + u64::from(address);
        // The TTL is the upper byte of its word.
        let aged = 0xffff - u64::from(0x0100_u16.to_be());
        self.store16::<IP_CHECK>(updated(self.load16::<IP_CHECK>(), moved + aged));
        let sum = moved + u64::from(!(key.ports >> 16) & 0xffff) + u64::from(port);
        if key.protocol as u64 == TCP {
            self.store16::<TCP_CHECK>(updated(self.load16::<TCP_CHECK>(), sum));
        } else {
            self.store16::<UDP_CHECK>(updated(self.load16::<UDP_CHECK>(), sum));
        }
    }
}

/// A checksum after words that add up to `sum` have come.
#[inline]
fn updated(check: u64, sum: u64) -> u64 {
    let sum = (!check & 0xffff) + sum;
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) & 0xffff
}
