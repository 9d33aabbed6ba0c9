//! The bytes of a frame have names here; no literal offset exists anywhere else.
//!
//! IPv4, IPv6 and UDP are the layouts of `network-types`. Ethernet, VLAN and TCP are our own: the
//! crate's Ethernet and VLAN types have an alignment of 2, which a frame in a byte slice does not
//! keep, and its TCP type shows the flags one bit at a time only.

pub mod checksum;
mod ethernet;
mod icmp;
mod ipv6_extension;
mod plain;
mod quote;
mod tcp;

pub use ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Macs, VlanTag, is_vlan};
pub use icmp::Icmp;
pub use ipv6_extension::{Extension, Ipv6Extension, Ipv6Fragment};
pub use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};
pub use plain::{PlainV4, PlainV6};
pub use quote::Quote;
pub use tcp::{Tcp, tcp_flag};

/// IP protocol numbers the pipeline looks at.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// An IPv4 packet (RFC 2003).
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// An IPv6 packet (RFC 2473).
    pub const IPV6: u8 = 41;
    /// `ICMPv6`.
    pub const ICMPV6: u8 = 58;
}

/// A header that may be laid over any bytes.
///
/// # Safety
/// The type has an alignment of 1, no padding, and every bit pattern is valid.
pub unsafe trait Wire: Copy {}

macro_rules! wire {
    ($($type:ty: $size:literal,)+) => {$(
        const _: () = assert!(align_of::<$type>() == 1 && size_of::<$type>() == $size);
        // SAFETY: alignment and size are asserted above; all fields are bytes or arrays of bytes.
        unsafe impl Wire for $type {}
    )+};
}

wire! {
    Ethernet: 14,
    VlanTag: 4,
    Ipv4Hdr: 20,
    Ipv6Hdr: 40,
    Ipv6Extension: 2,
    Ipv6Fragment: 8,
    Icmp: 8,
    Tcp: 20,
    UdpHdr: 8,
    PlainV4: 42,
    PlainV6: 62,
    Quote: 4,
}

/// Reads or writes a field of a header as it lies in memory, in one instruction.
///
/// The kernel's target has no unaligned loads in LLVM's eyes, so a plain read becomes byte loads
/// and shifts; the machine itself has them. The field's offset is part of the instruction.
macro_rules! access {
    ($(#[doc = $doc:literal] $load:ident, #[doc = $doc2:literal] $store:ident: $word:ty, $size:literal;)+) => {$(
        #[doc = $doc]
        #[cfg_attr(target_arch = "bpf", inline(always))]
        #[must_use]
        pub fn $load<const AT: usize, T: Wire>(header: &T) -> $word {
            const { assert!(AT + size_of::<$word>() <= size_of::<T>()) };
            #[cfg(target_arch = "bpf")]
            {
                let value: u64;
                // SAFETY: reads bytes that the reference covers, as asserted.
                unsafe {
                    core::arch::asm!(concat!("{0} = *(u", $size, " *)({1} + {2})"),
                        out(reg) value, in(reg) core::ptr::from_ref(header), const AT,
                        options(pure, readonly, nostack, preserves_flags));
                }
                value as $word
            }
            // SAFETY: as above.
            #[cfg(not(target_arch = "bpf"))]
            unsafe {
                core::ptr::from_ref(header).byte_add(AT).cast::<$word>().read_unaligned()
            }
        }

        #[doc = $doc2]
        #[cfg_attr(target_arch = "bpf", inline(always))]
        pub fn $store<const AT: usize, T: Wire>(header: &mut T, value: $word) {
            const { assert!(AT + size_of::<$word>() <= size_of::<T>()) };
            #[cfg(target_arch = "bpf")]
            // SAFETY: writes bytes that the reference covers, as asserted; `Wire` types take any.
            unsafe {
                core::arch::asm!(concat!("*(u", $size, " *)({0} + {2}) = {1}"),
                    in(reg) core::ptr::from_mut(header), in(reg) u64::from(value), const AT,
                    options(nostack, preserves_flags));
            }
            // SAFETY: as above.
            #[cfg(not(target_arch = "bpf"))]
            unsafe {
                core::ptr::from_mut(header).byte_add(AT).cast::<$word>().write_unaligned(value);
            }
        }
    )+};
}

access! {
    /// The two bytes at offset `AT`.
    load16,
    /// Replaces the two bytes at offset `AT`.
    store16: u16, "16";
    /// The four bytes at offset `AT`.
    load32,
    /// Replaces the four bytes at offset `AT`.
    store32: u32, "32";
}

/// A field by its name: `field!(load16(ip), Ipv4Hdr, check)`.
macro_rules! field {
    ($access:ident($header:expr $(, $value:expr)?), $type:ty, $field:ident) => {
        $crate::wire::$access::<{ core::mem::offset_of!($type, $field) }, $type>($header $(, $value)?)
    };
}
pub(crate) use field;

/// Offsets of the addresses in an IPv6 header.
const SOURCE_V6: usize = core::mem::offset_of!(Ipv6Hdr, src_addr);
const DESTINATION_V6: usize = core::mem::offset_of!(Ipv6Hdr, dst_addr);

/// The source and the destination address of an IPv6 header, as words.
#[cfg_attr(target_arch = "bpf", inline(always))]
#[must_use]
pub fn load_v6(ip: &Ipv6Hdr) -> ([u32; 4], [u32; 4]) {
    const S: usize = SOURCE_V6;
    const D: usize = DESTINATION_V6;
    (
        [
            load32::<S, _>(ip),
            load32::<{ S + 4 }, _>(ip),
            load32::<{ S + 8 }, _>(ip),
            load32::<{ S + 12 }, _>(ip),
        ],
        [
            load32::<D, _>(ip),
            load32::<{ D + 4 }, _>(ip),
            load32::<{ D + 8 }, _>(ip),
            load32::<{ D + 12 }, _>(ip),
        ],
    )
}

/// Replaces both addresses of an IPv6 header.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn store_v6(ip: &mut Ipv6Hdr, source: [u32; 4], destination: [u32; 4]) {
    const S: usize = SOURCE_V6;
    const D: usize = DESTINATION_V6;
    let ([sa, sb, sc, sd], [da, db, dc, dd]) = (source, destination);
    store32::<S, _>(ip, sa);
    store32::<{ S + 4 }, _>(ip, sb);
    store32::<{ S + 8 }, _>(ip, sc);
    store32::<{ S + 12 }, _>(ip, sd);
    store32::<D, _>(ip, da);
    store32::<{ D + 4 }, _>(ip, db);
    store32::<{ D + 8 }, _>(ip, dc);
    store32::<{ D + 12 }, _>(ip, dd);
}
