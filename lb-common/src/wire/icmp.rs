//! ICMP (RFC 792) and `ICMPv6` (RFC 4443), as far as errors about flows go.

use super::protocol;

/// What both begin with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum; that of `ICMPv6` covers the addresses as well.
    pub checksum: [u8; 2],
    /// Depends on the type.
    pub rest: [u8; 4],
}

impl Icmp {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();

    /// Whether this type quotes the packet that could not be delivered. Redirects do too, but are
    /// about routes, not about flows.
    #[inline]
    #[must_use]
    pub const fn is_error(number: u8, kind: u8) -> bool {
        match number {
            // Unreachable, source quench, time exceeded, parameter problem.
            protocol::ICMP => matches!(kind, 3 | 4 | 11 | 12),
            // Unreachable, packet too big, time exceeded, parameter problem.
            protocol::ICMPV6 => matches!(kind, 1..=4),
            _ => false,
        }
    }

    /// Whether this is an echo request of the family.
    #[inline]
    #[must_use]
    pub const fn is_request(number: u8, v6: bool, icmp: &Self) -> bool {
        let (protocol, kind) =
            if v6 { (protocol::ICMPV6, ECHO_V6) } else { (protocol::ICMP, ECHO_V4) };
        number == protocol && icmp.kind == kind && icmp.code == 0
    }

    /// The type of the answer to a request of this type.
    #[inline]
    #[must_use]
    pub const fn answer_to(kind: u8) -> u8 {
        if kind == ECHO_V4 { ECHO_REPLY_V4 } else { ECHO_REPLY_V6 }
    }
}

const ECHO_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_questions_and_from_the_other_familys() {
        let errors = |number| (0..=255).filter(|kind| Icmp::is_error(number, *kind)).collect();
        let (v4, v6): (Vec<u8>, Vec<u8>) = (errors(protocol::ICMP), errors(protocol::ICMPV6));
        assert_eq!((v4, v6), (vec![3, 4, 11, 12], vec![1, 2, 3, 4]));
        assert_eq!(errors(protocol::TCP), Vec::<u8>::new());
    }
}
