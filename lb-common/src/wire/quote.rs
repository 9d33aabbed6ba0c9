//! What an ICMP error quotes of the packet that it is about.

/// The beginning of a packet: its headers, whatever options they have.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    words: [[u8; 4]; 32],
}

impl Quote {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// The sum over it, for a checksum.
    #[inline]
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
    }
}
