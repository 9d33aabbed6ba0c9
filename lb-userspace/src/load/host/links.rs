//! Network counters of all links of a namespace, with one netlink dump: a request, and an answer
//! of some 200 bytes a link. The files of `/sys/class/net` would be thousands of system calls, and
//! those of another namespace.
//!
//! Messages: `RTM_GETSTATS` of `linux/if_link.h`, which has the counters and nothing else, while
//! `RTM_GETLINK` tells everything about every link.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

/// The kernel fills at most this much at once.
const ANSWER_MAX: usize = 64 * 1024;
/// The kernel answers within the call. A longer silence is an answer that was lost.
const SILENCE_MAX_SECONDS: i64 = 1;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWSTATS: u16 = 92;
const RTM_GETSTATS: u16 = 94;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// `IFLA_STATS_LINK_64`, and its bit in a filter.
const STATS_LINK_64: u16 = 1;
const STATS_LINK_64_BIT: u32 = 1;
const HEADER: usize = 16;

/// Counters of one link, as the host sees them: what it receives from a container's veth is what
/// the container sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// The link. A container that starts again gets another.
    pub index: u32,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Packets sent.
    pub sent_packets: u64,
}

/// A socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct LinkReader {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    sequence: u32,
}

impl LinkReader {
    /// Opens the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(SILENCE_MAX_SECONDS))?;
        Ok(Self { socket, buffer: vec![0; ANSWER_MAX].into_boxed_slice(), sequence: 0 })
    }

    /// The counters of every link, by its index. It is read into `counts` anew.
    pub fn read(&mut self, counts: &mut BTreeMap<u32, LinkCounts>) -> io::Result<()> {
        counts.clear();
        self.sequence = self.sequence.wrapping_add(1);
        send(self.socket.as_raw_fd(), &request(self.sequence), MsgFlags::empty())?;
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let answer = self.buffer.get(..length).unwrap_or_default();
            let mut keep = |link: LinkCounts| {
                counts.insert(link.index, link);
            };
            match parse(answer, self.sequence, &mut keep) {
                Progress::More => {}
                Progress::Done => return Ok(()),
                Progress::Refused(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Progress::Malformed => {
                    let why = "the kernel's answer about links is not understood";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            }
        }
    }
}

/// A header (`struct nlmsghdr`) and a `struct if_stats_msg` that asks for the counters only.
pub(super) fn request(sequence: u32) -> [u8; 28] {
    let mut message = [0; 28];
    let length = u32::try_from(message.len()).unwrap_or_default();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_GETSTATS.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    message[24..].copy_from_slice(&STATS_LINK_64_BIT.to_ne_bytes());
    message
}

/// How far a dump got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done,
    Refused(i32),
    Malformed,
}

/// The messages of one datagram. Those of an earlier request, given up, are passed over.
pub(super) fn parse(
    mut datagram: &[u8],
    sequence: u32,
    each: &mut impl FnMut(LinkCounts),
) -> Progress {
    while !datagram.is_empty() {
        let (Some(length), Some(kind), Some(number)) =
            (u32_at(datagram, 0), u16_at(datagram, 4), u32_at(datagram, 8))
        else {
            return Progress::Malformed;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = datagram.get(HEADER..length) else { return Progress::Malformed };
        if number == sequence {
            match kind {
                NLMSG_DONE => return Progress::Done,
                NLMSG_ERROR => return refused(body),
                RTM_NEWSTATS => {
                    if let Some(link) = link(body) {
                        each(link);
                    }
                }
                _ => {}
            }
        }
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    Progress::More
}

/// Errors are negative; 0 would be an acknowledgement, which nobody asked for.
fn refused(body: &[u8]) -> Progress {
    let errno = u32_at(body, 0).map(u32::cast_signed).and_then(i32::checked_neg);
    errno.filter(|&errno| errno > 0).map_or(Progress::Malformed, Progress::Refused)
}

/// A `struct if_stats_msg` and its attributes.
fn link(body: &[u8]) -> Option<LinkCounts> {
    let index = u32_at(body, 4)?;
    let mut attributes = body.get(12..)?;
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == STATS_LINK_64 {
            return Some(LinkCounts {
                index,
                received_packets: u64_at(value, 0)?,
                sent_packets: u64_at(value, 8)?,
                received_bytes: u64_at(value, 16)?,
                sent_bytes: u64_at(value, 24)?,
            });
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes)
}
