//! What an ICMP error quotes of the packet that it is about.

/// Four bytes of a quotation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    word: [u8; 4],
}

impl Quote {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
    /// Bytes of the longest one: the packet's headers, whatever options they have.
    pub const LONGEST: usize = 128;

    /// What it adds to a checksum.
    #[inline]
    #[must_use]
    pub const fn sum(self) -> u64 {
        u32::from_ne_bytes(self.word) as u64
    }
}
