//! Packets to try: what clients and backends say to one another, what others send, and what
//! becomes of all that on a bad line. Everything follows from one seed.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::{
    config::{ANY, Backend, Config, Policy, Ports, Service, State, Timeouts, Tunnel, Way},
    frame::{self, ACK, FIN, RST, SYN},
};

/// Interfaces of the test; a run in the kernel knows the first one only.
pub const LINKS: [u32; 3] = [1, 7, 9];
/// How many steps happen between two changes of the configuration, on average.
const CHANGE_EVERY: u32 = 200;

/// Numbers that look random: `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit)) as u32
    }

    pub fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    pub fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

/// What happens next.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame arrives on a link.
    Frame(Vec<u8>, u32),
    /// Ticks pass.
    Time(u32),
    /// The configuration is another one.
    Change(Box<Config>),
}

/// A source of events.
#[derive(Debug)]
pub struct Source {
    pub random: Random,
    config: Config,
    /// What backends were asked, so that they can answer.
    asked: VecDeque<(SocketAddr, SocketAddr, bool)>,
    /// Frames to spoil.
    sent: VecDeque<Vec<u8>>,
    /// Who asked which service, and frames that went to backends: what errors are about.
    pub(super) questions: VecDeque<(SocketAddr, SocketAddr, bool)>,
    pub(super) went: VecDeque<Vec<u8>>,
}

impl Source {
    pub fn new(seed: u64, config: Config) -> Self {
        let (asked, sent) = (VecDeque::new(), VecDeque::new());
        let (questions, went) = (VecDeque::new(), VecDeque::new());
        Self { random: Random(seed), config, asked, sent, questions, went }
    }

    pub fn next(&mut self) -> Event {
        if self.random.one_in(CHANGE_EVERY) {
            self.change();
            return Event::Change(Box::new(self.config.clone()));
        }
        match self.random.below(100) {
            0..20 => Event::Time(self.ticks()),
            20..84 => self.conversation(),
            84..90 => match self.gossip() {
                frame if frame.is_empty() => Event::Time(1),
                frame => self.keep(frame),
            },
            90..98 => self.spoiled(),
            _ => {
                let length = self.random.below(120);
                let noise = (0..length).map(|_| self.random.next() as u8).collect();
                Event::Frame(noise, 1)
            }
        }
    }

    /// A frame went to a backend: it may answer.
    pub fn delivered(&mut self, frame: &[u8]) {
        let Ok(segment) = frame::read(frame) else { return };
        push(&mut self.asked, (segment.to, segment.from, segment.udp), 48);
        push(&mut self.went, frame.to_vec(), 48);
    }

    /// Mostly a moment; now and then longer than anything is remembered.
    fn ticks(&mut self) -> u32 {
        match self.random.below(200) {
            0 => self.random.of(&[99, 100, 101, 299, 300, 301, 499, 501, 999, 1001, 2001]),
            1..20 => self.random.below(60),
            _ => self.random.below(2),
        }
    }

    fn conversation(&mut self) -> Event {
        let answers = !self.asked.is_empty() && self.random.one_in(2);
        let (from, to, udp) = if answers {
            let at = self.random.below(self.asked.len() as u32) as usize;
            self.asked[at]
        } else {
            self.question()
        };
        let flags = match (answers, self.random.below(16)) {
            (false, 0..5) => SYN,
            (true, 0..4) => SYN | ACK,
            (_, 0..11) => ACK,
            (_, 11 | 12) => FIN | ACK,
            (_, 13) => RST | ACK,
            (_, 14) => self.random.of(&[0, RST, SYN | FIN, FIN, SYN | ACK, SYN, 0xff]),
            _ => ACK | 8,
        };
        let frame = self.build((from, to, udp), flags);
        self.keep(frame)
    }

    /// A frame to send, which may come again with something wrong.
    fn keep(&mut self, frame: Vec<u8>) -> Event {
        push(&mut self.sent, frame.clone(), 64);
        let link = if self.random.one_in(12) { self.random.of(&LINKS) } else { 1 };
        Event::Frame(frame, link)
    }

    /// Somebody calls a service, or what was one.
    fn question(&mut self) -> (SocketAddr, SocketAddr, bool) {
        let all: Vec<(usize, IpAddr, u16, u16, bool)> = (0..)
            .zip(
                services().into_iter().flat_map(|s| s.listens.into_iter().map(move |l| (l, s.udp))),
            )
            .map(|(n, ((address, first, last), udp))| (n, address, first, last, udp))
            .collect();
        let (n, address, first, last, udp) = self.random.of(&all);
        // Beside a range there is nothing.
        let port = first + self.random.below(u32::from(last - first) + 1) as u16;
        let port = if self.random.one_in(50) { port ^ 1 } else { port };
        let clients: &[&str] = if address.is_ipv4() { &CLIENTS } else { &CLIENTS6 };
        let client: IpAddr = self.random.of(clients).parse().unwrap();
        let own = 40_000 + (n as u16) * 8 + self.random.below(8) as u16;
        let question = (SocketAddr::new(client, own), SocketAddr::new(address, port), udp);
        push(&mut self.questions, question, 48);
        question
    }

    pub(super) fn build(
        &mut self,
        (from, to, udp): (SocketAddr, SocketAddr, bool),
        flags: u8,
    ) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 + u8::from(self.random.one_in(20))];
        if self.random.one_in(20) {
            for _ in 0..=self.random.below(3) {
                frame.extend(self.random.of(&[[0x81, 0, 0, 5], [0x88, 0xa8, 0x20, 7]]));
            }
        }
        let length = self.random.of(&[0, 0, 0, 1, 2, 5, 18, 64, 0, 1, 7, 230]);
        let payload: Vec<u8> = (0..length).map(|_| self.random.next() as u8).collect();
        let transport = self.transport((from, to, udp), flags, &payload);
        let hops = self.random.of(&[64, 64, 64, 255, 64, 64, 2, 64, 64, 64, 64, 1, 64, 64, 64, 0]);
        let number = if udp { 17 } else { 6 };
        let number = if self.random.one_in(60) { self.random.of(&[1, 58, 47, 59]) } else { number };
        let class = if self.random.one_in(8) { self.random.next() as u8 } else { 0 };
        match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let options = if self.random.one_in(16) { self.random.below(11) as u8 } else { 0 };
                let length = 20 + usize::from(options) * 4 + transport.len();
                let fragment = if self.random.one_in(40) { self.random.next() as u8 } else { 0x40 };
                frame.extend([8, 0, 0x45 + options, class, (length >> 8) as u8, length as u8]);
                frame.extend([0, 7, fragment, 0, hops, number, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend(vec![1; usize::from(options) * 4]);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let extensions = self.extensions(number);
                let length = extensions.1.len() + transport.len();
                let label = class & 15;
                frame.extend([0x86, 0xdd, 0x60 | class >> 4, class << 4 | label, 0, label]);
                frame.extend([(length >> 8) as u8, length as u8]);
                frame.extend([extensions.0, hops]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend(extensions.1);
            }
            _ => panic!("two families in one packet"),
        }
        frame.extend(transport);
        frame::seal(&mut frame);
        if udp && payload.len() > 1 && self.random.one_in(4) {
            self.aim_at_zero(&mut frame);
        }
        // Some senders of datagrams over IPv4 compute no checksum.
        if udp
            && self.random.one_in(8)
            && let Ok(segment) = frame::read(&frame)
        {
            frame[segment.transport + 6..segment.transport + 8].copy_from_slice(&[0, 0]);
        }
        // Short frames are padded.
        if self.random.one_in(4) {
            frame.resize(frame.len().max(60), 0);
        }
        frame
    }

    /// Makes a datagram whose checksum is a computed zero once it is sent on to some backend.
    fn aim_at_zero(&mut self, frame: &mut [u8]) {
        let Ok(segment) = frame::read(frame) else { return };
        let of =
            |backend: &&Backend| backend.udp && backend.address.is_ipv4() == segment.to.is_ipv4();
        let backends: Vec<Backend> = self.config.backends.values().filter(of).copied().collect();
        let backend = self.random.of(&backends);
        let port = if backend.port == 0 { segment.to.port() } else { backend.port };
        let to = SocketAddr::new(backend.address, port);
        if segment.hops == 0 || segment.end < segment.transport + 10 {
            return;
        }
        let sent = frame::rewritten(frame, &segment, (segment.from, to), None);
        let word = |bytes: &[u8], at: usize| u32::from(bytes[at]) << 8 | u32::from(bytes[at + 1]);
        let (check, data) = (segment.transport + 6, segment.transport + 8);
        let sum = (word(frame, data) + word(&sent, check)) % 65535;
        frame[data..data + 2].copy_from_slice(&(sum as u16).to_be_bytes());
        frame::seal(frame);
    }

    fn transport(
        &mut self,
        (from, to, udp): (SocketAddr, SocketAddr, bool),
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut bytes = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        if udp {
            let length = 8 + payload.len() as u16;
            bytes.extend([length.to_be_bytes(), [0, 0]].concat());
        } else {
            let options = if self.random.one_in(4) { self.random.below(11) as u8 } else { 0 };
            bytes.extend((self.random.next()).to_be_bytes());
            bytes.extend([(5 + options) << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
            bytes.extend(vec![1; usize::from(options) * 4]);
        }
        bytes.extend(payload);
        bytes
    }

    /// The number of the first header and all extension headers.
    fn extensions(&mut self, number: u8) -> (u8, Vec<u8>) {
        let (mut first, mut bytes) = (number, Vec::new());
        if self.random.one_in(12) {
            for _ in 0..=self.random.below(5) {
                let length = self.random.below(3) as u8;
                let mut header = vec![first, length];
                header.resize((usize::from(length) + 1) * 8, 0);
                header.extend(bytes);
                first = self.random.of(&[0, 43, 60, 60, 60, 44, 44]);
                if first == 44 {
                    // The whole packet, the first part of one, a later one; bits that mean nothing.
                    let place = self.random.of(&[0, 1, 1, 1, 8, 9, 0x58, 6]);
                    header.splice(1..8, [0, 0, place, 0, 0, 0, self.random.of(&[1, 2])]);
                }
                bytes = header;
            }
        }
        (first, bytes)
    }

    /// A frame of before with bytes that are wrong, missing or too many.
    fn spoiled(&mut self) -> Event {
        if self.sent.is_empty() {
            return Event::Time(1);
        }
        let at = self.random.below(self.sent.len() as u32) as usize;
        let mut frame = self.sent[at].clone();
        match self.random.below(4) {
            0 => frame.truncate(self.random.below(frame.len() as u32 + 1) as usize),
            1 => frame.push(7),
            _ => {
                for _ in 0..=self.random.below(3) {
                    // Headers are where it hurts.
                    let reach = (frame.len() as u32).min(self.random.of(&[24, 40, 80]));
                    let at = self.random.below(reach) as usize;
                    let value = self.random.next() as u8;
                    frame[at] = self.random.of(&[value, frame[at] ^ 1 << (value % 8), 0, 255]);
                }
            }
        }
        if self.random.one_in(2) {
            frame::seal(&mut frame);
        }
        Event::Frame(frame, 1)
    }

    /// Somebody changes the configuration, a backend fails or a container starts.
    fn change(&mut self) {
        let ids: Vec<u32> = self.config.backends.keys().copied().collect();
        let id = self.random.of(&ids);
        let original = backends()[&id];
        let all = services();
        let at = self.random.below(all.len() as u32) as usize;
        let (other, policy) = (all[at].clone(), self.random.of(&POLICIES));
        let what = self.random.below(16);
        let backend = self.config.backends.get_mut(&id).unwrap();
        match what {
            0 => backend.state = State::Absent,
            1 => backend.state = State::Closed,
            2 => backend.state = State::Down,
            3..6 => backend.state = State::Up,
            6 => {
                // The next container at the address, or elsewhere.
                backend.generation += 1;
                backend.state = State::Up;
                backend.macs = ([2, 0, 0, 0, 11, id as u8], original.macs.1);
            }
            7 => {
                let link = self.random.of(&LINKS);
                let stack = Way::Stack;
                backend.way = self.random.of(&[stack, Way::Inside(link), Way::Link(link)]);
            }
            8 => backend.capacity = 1 + self.random.below(900),
            9 => {
                self.config.services.remove(&other.id);
            }
            10 => {
                self.config.services.insert(other.id, other);
            }
            11 | 12 => backend.source = next(backend.source),
            13 | 14 => self.config.ports = self.random.of(&PORTS),
            _ => {
                self.config.heartbeat = !self.config.heartbeat;
                if let Some(service) = self.config.services.get_mut(&other.id) {
                    service.policy = policy;
                    for (_, weight) in &mut service.backends {
                        *weight = 1 + self.random.below(3);
                    }
                }
            }
        }
    }
}

/// Keeps the last `most` of them.
fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    queue.push_back(item);
    if queue.len() > most {
        queue.pop_front();
    }
}

const CLIENTS: [&str; 6] =
    ["198.18.0.2", "198.18.0.3", "198.18.0.4", "198.18.9.2", "198.18.10.2", "198.18.10.3"];
const CLIENTS6: [&str; 5] =
    ["fd00:18::2", "fd00:18::3", "fd00:99::2", "fd00:18:10::2", "::ffff:198.18.0.2"];

/// Ports of ours: more than anybody needs, or so few that each is tried.
const PORTS: [Ports; 6] = [
    Ports { first: 10_000, count: 22_768 },
    Ports { first: 10_000, count: 22_768 },
    Ports { first: 20_000, count: 24 },
    Ports { first: 20_020, count: 32 },
    Ports { first: 65_533, count: 3 },
    Ports { first: 20_000, count: 0 },
];

const POLICIES: [Policy; 10] = [
    Policy::Maglev,
    Policy::SourceHash,
    Policy::Turn,
    Policy::Random,
    Policy::LeastConnections,
    Policy::ShortestDelay,
    Policy::TwoChoices,
    Policy::FourChoices,
    Policy::Adaptive,
    Policy::AdaptiveFour,
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn backends() -> std::collections::BTreeMap<u32, Backend> {
    let rows: [(&str, u16, bool, Way); 14] = [
        ("198.18.10.2", 8080, false, Way::Inside(7)),
        ("198.18.10.3", 8080, false, Way::Link(9)),
        ("198.18.10.4", 8081, false, Way::Link(1)),
        ("198.18.10.5", 8080, false, Way::Stack),
        ("fd00:18:10::2", 8080, false, Way::Inside(7)),
        ("fd00:18:10::3", 8080, false, Way::Link(1)),
        ("198.18.10.2", 5353, true, Way::Inside(7)),
        ("198.18.10.3", 5353, true, Way::Link(9)),
        ("fd00:18:10::2", 5353, true, Way::Link(9)),
        ("198.18.10.4", 0, true, Way::Link(1)),
        ("198.18.10.5", 0, true, Way::Stack),
        ("fd00:18:10::4", 8080, false, Way::Stack),
        ("198.18.10.2", 8082, false, Way::Inside(7)),
        ("198.18.10.2", 80, false, Way::Inside(7)),
    ];
    let of = |(id, (address, port, udp, way)): (u32, (&str, u16, bool, Way))| {
        let macs = ([2, 0, 0, 0, 10, id as u8], [2, 0, 0, 0, 10, 1]);
        let (state, generation, capacity) = (State::Up, 1, 100 * id);
        let address = ip(address);
        let source = own(address, 1);
        // Some are behind a narrow link.
        let mtu = if id % 3 == 0 { 250 } else { 1500 };
        let state_of =
            Backend { address, port, udp, state, generation, way, macs, capacity, source, mtu };
        (id, state_of)
    };
    (1..).zip(rows).map(of).collect()
}

/// One of our addresses towards a backend.
fn own(backend: IpAddr, last: u8) -> IpAddr {
    let network = if backend.is_ipv4() { "198.18.10." } else { "fd00:18:10::" };
    ip(&format!("{network}{last}"))
}

/// The address after one: an address that was lost never comes back, as what is left of a flow over it could be taken
/// for another flow of that client.
fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() + 256).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() + 256).into()),
    }
}

const V4: &str = "198.18.1.1";
const V6: &str = "fd00:18:1::1";

/// A port of the VIPs of both families.
fn both(port: u16) -> Vec<(IpAddr, u16, u16)> {
    vec![(ip(V4), port, port), (ip(V6), port, port)]
}

fn service(
    id: u32,
    policy: Policy,
    listens: Vec<(IpAddr, u16, u16)>,
    backends: &[(u32, u32)],
) -> Service {
    Service {
        id,
        udp: false,
        policy,
        listens,
        backends: backends.to_vec(),
        sources: Vec::new(),
        affinity: None,
        counts_requests: false,
        direct: false,
        tunnel: None,
        full_nat: false,
    }
}

fn counted(service: Service) -> Service {
    Service { counts_requests: true, ..service }
}

/// Backends of HTTP of both families.
const WEB: [(u32, u32); 5] = [(1, 2), (2, 1), (3, 1), (5, 1), (6, 3)];

fn services() -> Vec<Service> {
    let sources = vec![(ip("198.18.0.0"), 24), (ip("fd00:18::"), 32), (ip("198.18.10.2"), 32)];
    let range = vec![(ip(V4), 27008, 27015), (ip(V4), 27016, 27023)];
    let direct = |service: Service| Service { direct: true, ..service };
    let tunnel = |tunnel, service| Service { direct: true, tunnel: Some(tunnel), ..service };
    let plain = vec![
        service(1, Policy::Maglev, both(80), &WEB),
        counted(service(2, Policy::Adaptive, both(81), &WEB)),
        service(3, Policy::Turn, both(82), &WEB),
        Service { sources: sources.clone(), ..service(4, Policy::ShortestDelay, both(83), &WEB) },
        Service { affinity: Some(400), ..service(5, Policy::Random, both(84), &WEB) },
        service(6, Policy::Maglev, both(85), &[]),
        counted(service(7, Policy::AdaptiveFour, both(86), &[(13, 1), (12, 1), (4, 1)])),
        service(8, Policy::LeastConnections, both(88), &[(14, 1), (4, 2)]),
        Service {
            udp: true,
            ..service(9, Policy::SourceHash, both(53), &[(7, 1), (8, 2), (9, 1)])
        },
        Service {
            udp: true,
            sources,
            ..counted(service(10, Policy::Adaptive, both(54), &[(7, 1), (8, 2), (9, 1)]))
        },
        Service { udp: true, ..service(11, Policy::Turn, range, &[(10, 1), (11, 2)]) },
        Service {
            udp: true,
            ..service(12, Policy::Maglev, vec![(ip(V4), 27020, 27020)], &[(10, 1)])
        },
        direct(counted(service(13, Policy::Adaptive, both(87), &WEB))),
        direct(service(14, Policy::LeastConnections, both(89), &[(2, 1), (4, 1), (6, 1), (12, 1)])),
        direct(Service {
            udp: true,
            ..service(15, Policy::Turn, both(55), &[(7, 1), (11, 1), (9, 1)])
        }),
        Service { udp: true, ..service(16, Policy::Maglev, both(56), &[]) },
        tunnel(Tunnel::Ip, counted(service(17, Policy::Adaptive, both(90), &WEB))),
        tunnel(
            Tunnel::Udp,
            service(18, Policy::LeastConnections, both(91), &[(2, 1), (3, 1), (6, 1), (12, 1)]),
        ),
        tunnel(
            Tunnel::Ip,
            Service { udp: true, ..service(19, Policy::Turn, both(57), &[(7, 1), (8, 1), (9, 1)]) },
        ),
        tunnel(
            Tunnel::Udp,
            Service {
                udp: true,
                ..service(20, Policy::Maglev, both(58), &[(8, 1), (10, 1), (9, 1)])
            },
        ),
    ];
    [plain, by_full_nat()].concat()
}

/// Services whose backends see us; some have them in one family only, for the clients of both.
fn by_full_nat() -> Vec<Service> {
    let full_nat = |service: Service| Service { full_nat: true, ..service };
    let wide = vec![(ip(V6), 27008, 27015)];
    vec![
        full_nat(counted(service(21, Policy::Adaptive, both(92), &WEB))),
        full_nat(service(22, Policy::Turn, both(93), &[(1, 1), (2, 2), (4, 1), (13, 1)])),
        full_nat(counted(service(23, Policy::LeastConnections, both(94), &[(5, 2), (6, 1)]))),
        full_nat(Service {
            udp: true,
            ..service(24, Policy::SourceHash, both(59), &[(7, 1), (8, 1), (9, 1)])
        }),
        full_nat(Service {
            udp: true,
            affinity: Some(400),
            ..counted(service(25, Policy::Adaptive, both(60), &[(7, 1), (8, 1)]))
        }),
        full_nat(Service { udp: true, ..service(26, Policy::Maglev, both(61), &[(9, 1)]) }),
        full_nat(Service { udp: true, ..service(27, Policy::Turn, wide, &[(10, 1), (11, 2)]) }),
    ]
}

/// Where a history begins. `slow`: nothing that takes time ever happens.
pub fn beginning(slow: bool) -> Config {
    let limit = |ticks| if slow { 1 << 20 } else { ticks };
    Config {
        services: services().into_iter().map(|service| (service.id, service)).collect(),
        backends: backends(),
        timeouts: Timeouts {
            tcp_new: limit(300),
            tcp_established: limit(2000),
            tcp_half_closed: limit(500),
            tcp_closed: limit(100),
            udp_new: limit(300),
            udp_established: limit(1000),
        },
        hairpin: (ip("198.19.0.8"), ip("fd00:19::8")),
        tunnel: ("198.19.128.0".parse().unwrap(), 0x7fff),
        gue_port: 6080,
        ports: PORTS[0],
        heartbeat: !slow,
    }
}

const _: () = assert!(*ANY.start() == 27008 && *ANY.end() == 27023);
