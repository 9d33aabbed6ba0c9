//! Offloads of a link, by the ioctl behind `ethtool -K`.

use std::{io, net::UdpSocket, os::fd::AsRawFd as _};

/// An offload that can be switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offload {
    /// `tx`: the link completes the checksums of what it sends.
    TxChecksum,
    /// `gro`: the link puts received segments together.
    Gro,
}

impl Offload {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TxChecksum => "transmit checksums",
            Self::Gro => "generic receive offload",
        }
    }

    /// `ETHTOOL_STXCSUM` and `ETHTOOL_SGRO` of `linux/ethtool.h`.
    const fn command(self) -> u32 {
        match self {
            Self::TxChecksum => 0x17,
            Self::Gro => 0x2c,
        }
    }
}

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Switches an offload of a link in the calling thread's namespace.
pub(super) fn switch(link: &str, offload: Offload, on: bool) -> io::Result<()> {
    // Any socket will do: it stands for its namespace.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut value = EthtoolValue { command: offload.command(), data: u32::from(on) };
    let mut request = libc::ifreq {
        ifr_name: interface_name(link)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    // SAFETY: SIOCETHTOOL takes an ifreq whose data points to the structure of the command, which
    // is an ethtool_value for both commands; both live until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The name with the zero behind it that the kernel looks for.
fn interface_name(link: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if link.is_empty() || link.len() >= name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("link name {link:?}")));
    }
    for (to, from) in name.iter_mut().zip(link.bytes()) {
        *to = from.cast_signed();
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_links_are_refused() {
        for link in ["", "abcdefghijklmnop", "no-such-link0"] {
            assert!(switch(link, Offload::Gro, true).is_err(), "{link:?}");
        }
    }

    #[test]
    fn the_longest_name_keeps_its_zero() {
        assert_eq!(interface_name("abcdefghijklmno").unwrap().last(), Some(&0));
    }
}
