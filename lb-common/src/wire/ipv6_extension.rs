//! IPv6 extension headers (RFC 8200, section 4).

/// The first two bytes that hop-by-hop options, routing and destination options have in common.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Extension {
    /// What follows.
    pub next_header: u8,
    /// Length in units of 8 bytes, without the first 8.
    pub length: u8,
}

/// The fragment header (RFC 8200, 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Fragment {
    /// What the whole packet has after this header.
    pub next_header: u8,
    /// Ignored.
    pub reserved: u8,
    /// Offset in units of 8 bytes in the upper 13 bits; the lowest: more follow.
    pub place: [u8; 2],
    /// The fragments of a packet have the same.
    pub identification: [u8; 4],
}

impl Ipv6Fragment {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
}

/// What a next-header number means for the walk to the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// An extension header that is skipped.
    Skip,
    /// A fragment header.
    Fragment,
    /// No extension header.
    End,
}

impl Extension {
    /// Classifies a next-header number.
    #[inline]
    #[must_use]
    pub const fn of(next_header: u8) -> Self {
        match next_header {
            0 | 43 | 60 => Self::Skip,
            44 => Self::Fragment,
            _ => Self::End,
        }
    }
}
