//! Floods, and what clients notice of them: those that are connected,
//! busy or idle, those that connect, and those that send datagrams. Run with `--nocapture` for the figures.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lb_userspace::{
    lab::{LabPlan, Netns, Topology, vip_v4, vip_v6},
    model::{
        Attach, BackendSpec, Config, Endpoint, Limits, Listen, Policy, PortRange, Protocol,
        Service, ServiceName, Weight,
    },
};
use nix::sched::{CloneFlags, setns};

use super::{
    crowd::{Call, Connection, Crowd},
    flood::{Flood, Kind, PACED},
    site::Site,
    world::{World, plan},
};

/// Port of the datagram service, and of its servers.
const ASKED: u16 = 53;
const SERVER: u16 = 5353;
/// Connections that are silent during the flood.
const IDLE: u16 = 120;
const IDLE_FIRST: u16 = 2_000;
/// Calls of the clients while a flood is on, and how long they wait after each: so many cost little
/// beside the flood.
const CALLS: usize = 3_000;
const PAUSE: Duration = Duration::from_millis(16);
/// Flows that each table holds.
const FLOWS: u32 = 8192;
/// Packets of a call over a connection of its own, both ways.
const PACKETS_A_CALL: f64 = 10.0;

/// What became of something that was tried.
#[derive(Clone, Debug, Default)]
struct Tally {
    tried: usize,
    failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, result: Result<(), String>) {
        self.tried += 1;
        self.failed.extend(result.err());
    }

    fn of<'a>(calls: impl Iterator<Item = &'a Call>) -> Self {
        let mut tally = Self::default();
        for call in calls {
            tally.add(call.answer.as_ref().map(drop).map_err(Clone::clone));
        }
        tally
    }

    fn ok(&self) -> usize {
        self.tried - self.failed.len()
    }

    /// All but one in a thousand.
    fn is_nearly_all(&self) -> bool {
        self.tried > 0 && self.failed.len() * 1_000 <= self.tried
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.ok(), self.tried)
    }
}

/// A datagram service beside the connections.
fn with_datagrams(config: &mut Config) {
    let ports = PortRange::new(ASKED, ASKED).unwrap();
    // A flood fills them several times a second.
    config.limits = Limits { conns: FLOWS, embryos: FLOWS, ..Limits::default() };
    let web = &config.services[0];
    let listens = web.listens.iter().map(|listen| Listen {
        ports,
        protocol: Protocol::Udp,
        address: listen.address,
    });
    let backends = web.backends.iter().map(|backend| BackendSpec {
        endpoint: Endpoint { port: SERVER, protocol: Protocol::Udp, ..backend.endpoint },
        weight: Weight::DEFAULT,
        cgroup: None,
    });
    let service = Service {
        name: ServiceName::new("ask").unwrap(),
        listens: listens.collect(),
        backends: backends.collect(),
        ..web.clone()
    };
    config.services.push(service);
}

/// Threads that end with the value.
#[derive(Default)]
struct Threads<T> {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<T>>,
}

impl<T: Send + 'static> Threads<T> {
    fn spawn(&mut self, netns: &Netns, run: impl FnOnce(&AtomicBool) -> T + Send + 'static) {
        let (stop, netns) = (Arc::clone(&self.stop), netns.file().try_clone().unwrap());
        self.threads.push(std::thread::spawn(move || {
            setns(&netns, CloneFlags::CLONE_NEWNET).unwrap();
            run(&stop)
        }));
    }

    fn finish(mut self) -> Vec<T> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).map(|thread| thread.join().unwrap()).collect()
    }
}

impl<T> Drop for Threads<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Servers that answer a datagram by their number and what it said.
fn servers(world: &World) -> Threads<()> {
    let mut threads = Threads { stop: Arc::default(), threads: Vec::new() };
    for (number, backend) in (1_u8..).zip(world.lab.backends()) {
        for address in [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)] {
            let bind = || UdpSocket::bind((address, SERVER));
            let socket = backend.netns.in_netns(bind).unwrap().unwrap();
            threads.spawn(&backend.netns, move |stop| {
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                let mut bytes = [0; 128];
                while !stop.load(Ordering::SeqCst) {
                    let Ok((length, from)) = socket.recv_from(&mut bytes[1..]) else { continue };
                    // Only clients of this test ask by so few bytes.
                    if length == 4 {
                        bytes[0] = number;
                        let _ = socket.send_to(&bytes[..=length], from);
                    }
                }
            });
        }
    }
    threads
}

/// A client that asks by datagrams.
struct Asker {
    socket: UdpSocket,
    count: u32,
}

impl Asker {
    fn open(v6: bool) -> io::Result<Self> {
        let (own, vip) = if v6 {
            ("[fd00:18::2]:0", IpAddr::V6(vip_v6(1)))
        } else {
            ("198.18.0.2:0", IpAddr::V4(vip_v4(1)))
        };
        let socket = UdpSocket::bind(own)?;
        socket.connect((vip, ASKED))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok(Self { socket, count: 0 })
    }

    /// The number of the server that answers. Datagrams may be lost: who hears nothing asks again.
    fn ask(&mut self) -> Result<u8, String> {
        self.count += 1;
        let (question, mut why) = (self.count.to_ne_bytes(), String::new());
        for _ in 0..4 {
            self.socket.send(&question).map_err(|error| error.to_string())?;
            let mut answer = [0; 64];
            loop {
                match self.socket.recv(&mut answer) {
                    Ok(5) if answer[1..5] == question => return Ok(answer[0]),
                    Ok(_) => {}
                    Err(error) => {
                        why = error.to_string();
                        break;
                    }
                }
            }
        }
        Err(why)
    }
}

/// A client that keeps its port: it has to keep its server.
fn talk(v6: bool, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut asker = Asker::open(v6).unwrap();
    let first = asker.ask().unwrap();
    while !stop.load(Ordering::SeqCst) {
        tally.add(asker.ask().and_then(|server| {
            if server == first { Ok(()) } else { Err(format!("{first} became {server}")) }
        }));
        std::thread::sleep(Duration::from_millis(20));
    }
    tally
}

/// Clients that ask once.
fn ask_once(stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::SeqCst) {
        let v6 = tally.tried % 2 == 1;
        let asked = Asker::open(v6).map_err(|error| error.to_string());
        tally.add(asked.and_then(|mut asker| asker.ask().map(drop)));
        std::thread::sleep(Duration::from_millis(5));
    }
    tally
}

/// What clients noticed.
#[derive(Debug)]
struct Noticed {
    fresh: Tally,
    kept: Tally,
    idle: Tally,
    talks: Tally,
    asks: Tally,
    /// Frames of the flood for each packet of those who connected meanwhile.
    flood: f64,
}

fn flood(world: &World, kind: Kind) -> Noticed {
    let client = world.lab.client();
    let vips = World::vips();
    let mut idle: Vec<Connection> = (0..IDLE)
        .map(|n| {
            let vip = vips[usize::from(n) % vips.len()];
            let open = || Connection::open(vip, IDLE_FIRST + n);
            let mut connection = client.in_netns(open).unwrap().unwrap();
            connection.ask(true).unwrap();
            connection
        })
        .collect();
    let _servers = servers(world);
    let mut talks = Threads { stop: Arc::default(), threads: Vec::new() };
    for v6 in [false, true] {
        talks.spawn(client, move |stop| talk(v6, stop));
    }
    let crowd = Crowd::at_pace(client, PAUSE);
    crowd.wait_for(100);
    let mut asks = Threads { stop: Arc::default(), threads: Vec::new() };
    asks.spawn(client, ask_once);

    let datagrams = matches!(kind, Kind::Datagram | Kind::Fragment);
    let port = if datagrams { ASKED } else { vips[0].port() };
    let targets: Vec<_> = vips.iter().map(|vip| SocketAddr::new(vip.ip(), port)).collect();
    let paced = world.config.attach == Attach::Xdp;
    let period = if paced { PACED } else { Duration::ZERO };
    let flood = Flood::start(client, kind, &targets, period);
    crowd.enter(1);
    let (before, since) = flood.sent();
    crowd.wait_for(CALLS);
    let (after, until) = flood.sent();
    crowd.enter(2);
    drop(flood);

    let mut noticed = Noticed {
        fresh: Tally::default(),
        kept: Tally::default(),
        idle: Tally::default(),
        talks: Tally::default(),
        asks: asks.finish().remove(0),
        flood: 0.0,
    };
    for tally in talks.finish() {
        noticed.talks.tried += tally.tried;
        noticed.talks.failed.extend(tally.failed);
    }
    let calls = crowd.finish();
    let meanwhile = || calls.iter().filter(|call| call.phase == 1);
    noticed.fresh = Tally::of(meanwhile().filter(|call| call.fresh));
    noticed.kept = Tally::of(calls.iter().filter(|call| !call.fresh));
    for connection in &mut idle {
        noticed.idle.add(connection.ask(true).map(drop).map_err(|error| error.to_string()));
    }
    let frames = (after - before) as f64;
    noticed.flood = frames / (noticed.fresh.tried as f64 * PACKETS_A_CALL);
    let Noticed { fresh, kept, idle, talks, asks, flood } = &noticed;
    eprintln!(
        "{:?} {kind:?}: {:.0} frames/s, {flood:.0} for each packet of new connections; answered: \
         {fresh} new connections, {kept} requests on kept ones, {idle} idle ones, {talks} datagrams \
         of talks, {asks} single ones",
        world.config.attach,
        frames / until.saturating_sub(since).as_secs_f64(),
    );
    noticed
}

fn site(attach: Attach) -> Site {
    let topology = if attach == Attach::Tc { Topology::Bridge } else { Topology::Remote };
    let plan = LabPlan { checksum_offload: attach == Attach::Tc, ..plan(topology) };
    // Backends in turn: whoever is looked up twice is somewhere else the second time.
    Site::new(plan, attach, Policy::RoundRobin, with_datagrams)
}

fn survive(kind: Kind) {
    for attach in [Attach::Tc, Attach::Xdp] {
        let noticed = flood(&site(attach).world, kind);
        let case = format!("{attach:?} {kind:?}: {noticed:?}");
        for all in [&noticed.kept, &noticed.idle, &noticed.talks] {
            assert!(all.tried > 0 && all.failed.is_empty(), "{case}");
        }
        for most in [&noticed.fresh, &noticed.asks] {
            assert!(most.is_nearly_all(), "{case}");
        }
        assert!(noticed.flood >= 10.0, "{case}");
    }
}

#[test]
fn a_flood_of_first_packets() {
    survive(Kind::Syn);
}

#[test]
fn a_flood_of_packets_of_no_connection() {
    survive(Kind::Ack);
}

#[test]
fn a_flood_of_datagrams() {
    survive(Kind::Datagram);
}

#[test]
fn a_flood_of_fragments() {
    survive(Kind::Fragment);
}
