//! A generator of frames, each from another address.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use etherparse::PacketBuilder;
use lb_common::wire::checksum;
use lb_userspace::lab::{CLIENT_LINK, LB_MAC, Netns};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns},
    sys::socket::{
        AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, sendmmsg,
        socket,
    },
};

/// Frames a system call: far fewer than the queue of a link holds, which drops what does not fit
/// before Weir sees it.
const BATCH: usize = 32;
/// From one call to the next where links have such a queue, as those of XDP programs. A generator at its full
/// speed fills it for good, and then it is the queue that fails the clients.
pub(crate) const PACED: Duration = Duration::from_micros(640);
/// Frames of one flood at most: only a broken test sends so many.
const FRAMES_MAX: u64 = 20_000_000;
/// A flood ends by itself after so long.
const PATIENCE: Duration = Duration::from_secs(150);
/// MAC address of the sender; nobody has it.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 99];
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// First packets of connections.
    Syn,
    /// Packets of connections that nobody has opened.
    Ack,
    /// Datagrams.
    Datagram,
    /// First fragments of datagrams, and later ones of other datagrams.
    Fragment,
}

/// A flood that is on. Dropping it ends it.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    begun: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Floods these addresses in turn, from the client's link; with a period of 0 at full speed.
    pub(crate) fn start(
        client: &Netns,
        kind: Kind,
        targets: &[SocketAddr],
        period: Duration,
    ) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let netns = client.file().try_clone().unwrap();
        let frames = (0..BATCH).map(|n| Frame::new(kind, n, targets[n % targets.len()])).collect();
        let (ended, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let run = move || {
            setns(&netns, CloneFlags::CLONE_NEWNET).unwrap();
            send(frames, period, &ended, &counter);
        };
        let thread = Some(std::thread::spawn(run));
        Self { stop, sent, begun: Instant::now(), thread }
    }

    /// Frames so far, and for how long.
    pub(crate) fn sent(&self) -> (u64, Duration) {
        (self.sent.load(Ordering::Relaxed), self.begun.elapsed())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn send(mut frames: Vec<Frame>, period: Duration, stop: &AtomicBool, sent: &AtomicU64) {
    let socket = packet_socket().unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let nobody = vec![None::<SockaddrStorage>; BATCH];
    let begun = Instant::now();
    let mut due = begun;
    while !stop.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) < FRAMES_MAX {
        assert!(begun.elapsed() < PATIENCE, "nobody has ended the flood");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due = due.max(Instant::now()) + period;
        for frame in &mut frames {
            frame.vary(random.next());
        }
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(&frame.bytes)]).collect();
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &nobody, [], MsgFlags::empty()) {
            Ok(results) => sent.fetch_add(results.count() as u64, Ordering::Relaxed),
            // The link takes no more at the moment.
            Err(nix::Error::ENOBUFS | nix::Error::EAGAIN) => continue,
            Err(error) => panic!("cannot send: {error}"),
        };
    }
}

/// A socket that sends whole frames by the client's link and receives nothing.
fn packet_socket() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: if_nametoindex(CLIENT_LINK)?.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is a `sockaddr_ll` of the length that is passed with it.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    // Around the queue of the link, as generators do.
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
    // SAFETY: the value is an integer of the length that is passed with it.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
    };
    if set == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

/// xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A frame whose source changes.
struct Frame {
    bytes: Vec<u8>,
    v6: bool,
    /// Where the ports are; `None`: there are none in it.
    ports: Option<usize>,
    /// Where the checksum of the transport header is.
    check: Option<usize>,
    /// Where the identification of fragments is.
    identification: Option<usize>,
}

impl Frame {
    fn new(kind: Kind, n: usize, to: SocketAddr) -> Self {
        let datagrams = matches!(kind, Kind::Datagram | Kind::Fragment);
        let ethernet = PacketBuilder::ethernet2(MAC, LB_MAC.0);
        let payload: &[u8] = if datagrams { &[b'x'; 64] } else { &[] };
        let mut bytes = Vec::new();
        let step = match to {
            SocketAddr::V4(to) => ethernet.ipv4([198, 18, 0, 0], to.ip().octets(), 64),
            SocketAddr::V6(to) => {
                let source = "fd00:18:ffff::".parse::<std::net::Ipv6Addr>().unwrap();
                ethernet.ipv6(source.octets(), to.ip().octets(), 64)
            }
        };
        match kind {
            Kind::Syn => {
                step.tcp(1, to.port(), 1000, 64_000).syn().write(&mut bytes, payload).unwrap();
            }
            Kind::Ack => {
                step.tcp(1, to.port(), 1000, 64_000).ack(1).write(&mut bytes, payload).unwrap();
            }
            Kind::Datagram | Kind::Fragment => {
                step.udp(1, to.port()).write(&mut bytes, payload).unwrap();
            }
        }
        let v6 = to.is_ipv6();
        let at = ETHERNET + if v6 { IPV6 } else { IPV4 };
        let check = Some(at + if datagrams { 6 } else { 16 });
        let mut frame = Self { bytes, v6, ports: Some(at), check, identification: None };
        if kind == Kind::Fragment {
            frame.cut(n % 2 == 1);
        }
        frame
    }

    /// Makes a fragment of the frame: one behind the first, or the first.
    fn cut(&mut self, later: bool) {
        let place: u16 = if later { 8 } else { 0 };
        if self.v6 {
            let at = ETHERNET + IPV6;
            // The fragment header: UDP follows, place, more of them, identification.
            let place = (place << 3 | 1).to_be_bytes();
            let header = [17, 0, place[0], place[1], 0, 0, 0, 0];
            self.bytes.splice(at..at, header);
            self.bytes[ETHERNET + 6] = 44;
            let length = (self.bytes.len() - at) as u16;
            self.bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
            self.identification = Some(at + 4);
            self.ports = self.ports.map(|ports| ports + 8);
            self.check = self.check.map(|check| check + 8);
        } else {
            let place = (0x2000 | place).to_be_bytes();
            let old = [self.bytes[ETHERNET + 6], self.bytes[ETHERNET + 7]];
            self.bytes[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&place);
            let delta = checksum::difference(word(&old), word(&place));
            self.update(ETHERNET + 10, delta);
            self.identification = Some(ETHERNET + 4);
        }
        if later {
            (self.ports, self.check) = (None, None);
        }
    }

    /// Another source, another port, another identification.
    fn vary(&mut self, random: u64) {
        let at = if self.v6 { ETHERNET + 8 + 12 } else { ETHERNET + 12 };
        let mut delta = 0;
        // 198.18.32.0 up to 198.19.255.255, beyond all that the laboratory has.
        let host = 0xc612_2000_u32 + (random as u32 % 0x0001_e000);
        let source = if self.v6 { (random as u32).to_be_bytes() } else { host.to_be_bytes() };
        delta += checksum::difference(word(&self.bytes[at..at + 4]), word(&source));
        self.bytes[at..at + 4].copy_from_slice(&source);
        if !self.v6 {
            self.update(ETHERNET + 10, delta);
        }
        if let Some(at) = self.identification {
            let id = ((random >> 48) as u16).to_be_bytes();
            if !self.v6 {
                let delta = checksum::difference(word(&self.bytes[at..at + 2]), word(&id));
                self.update(ETHERNET + 10, delta);
            }
            self.bytes[at..at + 2].copy_from_slice(&id);
        }
        if let Some(at) = self.ports {
            let port = ((random >> 32) as u16 | 0x0400).to_be_bytes();
            delta += checksum::difference(word(&self.bytes[at..at + 2]), word(&port));
            self.bytes[at..at + 2].copy_from_slice(&port);
        }
        if let Some(at) = self.check {
            self.update(at, delta);
        }
    }

    fn update(&mut self, at: usize, delta: u64) {
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&checksum::update(old, delta).to_ne_bytes());
    }
}

/// Up to four bytes as they lie in memory.
fn word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word[..bytes.len()].copy_from_slice(bytes);
    u32::from_ne_bytes(word)
}
