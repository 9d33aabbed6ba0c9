//! The bytes of a frame have names here; no literal offset exists anywhere else.
//!
//! IPv4, IPv6 and UDP are the layouts of `network-types`. Ethernet, VLAN and TCP are our own: the
//! crate's Ethernet and VLAN types have an alignment of 2, which a frame in a byte slice does not
//! keep, and its TCP type shows the flags one bit at a time only.

pub mod checksum;
mod ethernet;
mod ipv6_extension;
mod tcp;

pub use ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Macs, VlanTag, is_vlan};
pub use ipv6_extension::{Extension, Ipv6Extension};
pub use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};
pub use tcp::{Tcp, tcp_flag};

/// IP protocol numbers the pipeline looks at.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
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
    Tcp: 20,
    UdpHdr: 8,
}

/// Two bytes of a header as they lie in memory, in one load.
///
/// The kernel's target has no unaligned loads in LLVM's eyes, so a plain read becomes two byte
/// loads and a shift; the machine itself has them. The same holds for [`load32`].
#[inline]
#[must_use]
pub fn load16(bytes: &[u8; 2]) -> u16 {
    #[cfg(target_arch = "bpf")]
    {
        let value: u64;
        // SAFETY: reads the two bytes that the reference covers.
        unsafe {
            core::arch::asm!("{0} = *(u16 *)({1} + 0)", out(reg) value, in(reg) bytes.as_ptr(),
                options(pure, readonly, nostack, preserves_flags));
        }
        value as u16
    }
    #[cfg(not(target_arch = "bpf"))]
    u16::from_ne_bytes(*bytes)
}

/// Four bytes of a header as they lie in memory, in one load.
#[inline]
#[must_use]
pub fn load32(bytes: &[u8; 4]) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let value: u64;
        // SAFETY: reads the four bytes that the reference covers.
        unsafe {
            core::arch::asm!("{0} = *(u32 *)({1} + 0)", out(reg) value, in(reg) bytes.as_ptr(),
                options(pure, readonly, nostack, preserves_flags));
        }
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    u32::from_ne_bytes(*bytes)
}

/// Writes two bytes of a header in one store.
#[inline]
pub fn store16(bytes: &mut [u8; 2], value: u16) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: writes the two bytes that the reference covers.
    unsafe {
        core::arch::asm!("*(u16 *)({0} + 0) = {1}", in(reg) bytes.as_mut_ptr(),
            in(reg) u64::from(value), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        *bytes = value.to_ne_bytes();
    }
}

/// Writes four bytes of a header in one store.
#[inline]
pub fn store32(bytes: &mut [u8; 4], value: u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: writes the four bytes that the reference covers.
    unsafe {
        core::arch::asm!("*(u32 *)({0} + 0) = {1}", in(reg) bytes.as_mut_ptr(),
            in(reg) u64::from(value), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        *bytes = value.to_ne_bytes();
    }
}

/// The four words of an IPv6 address.
#[inline]
#[must_use]
pub fn load_v6(bytes: &[u8; 16]) -> [u32; 4] {
    let (words, _) = bytes.as_chunks::<4>();
    let [a, b, c, d] = words else { return [0; 4] };
    [load32(a), load32(b), load32(c), load32(d)]
}

/// Writes the four words of an IPv6 address.
#[inline]
pub fn store_v6(bytes: &mut [u8; 16], words: [u32; 4]) {
    let (to, _) = bytes.as_chunks_mut::<4>();
    let [a, b, c, d] = to else { return };
    let [wa, wb, wc, wd] = words;
    store32(a, wa);
    store32(b, wb);
    store32(c, wc);
    store32(d, wd);
}
