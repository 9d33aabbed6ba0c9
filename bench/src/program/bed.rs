//! Everything loaded and filled: the same services and flows in the real program and the floors.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use lb_common::{
    abi::{backend::way, service::service_flag},
    maps::{CONNS_MAX, EMBRYOS_MAX},
};
use lb_userspace::model::Policy;
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    unistd::Pid,
};

use super::{
    beside::Beside,
    frame::{ACK, BACKEND_MAC, CLIENT_MAC, Flows, LB_MAC, Packet, SYN, TCP, UDP},
    layout::{Backend, ListenKey},
    rig::Rig,
    subject::{Subject, Under},
};
use crate::weir::{Hook, Offer, Server, Sizes, Weir};

/// What the backend behind full NAT sees in place of its clients.
pub(crate) const OUR_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 10, 1));
/// An address that no service has.
const NOBODY_LISTENS: &str = "198.18.1.9:9999";

/// The instance of the real program with a bit of everything.
pub(crate) const MAIN: usize = 0;
/// The one with tables for a million flows.
pub(crate) const MILLION: usize = 1;
/// The first of those with many services.
pub(crate) const MANY_SERVICES: usize = 2;

/// How much is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    /// Flows of the series, the largest last.
    pub(crate) flows: Vec<u32>,
    /// Services of the series: an instance each.
    pub(crate) services: Vec<u32>,
}

/// What is loaded.
pub(crate) struct Bed {
    /// [`MAIN`], [`MILLION`], and from [`MANY_SERVICES`] on one for each number of services.
    pub(crate) weirs: Vec<Weir>,
    pub(crate) rigs: [Rig; 4],
    pub(crate) beside: Option<Beside>,
    pub(crate) extent: Extent,
    /// An interface that packets may claim to come from.
    uplink: u32,
    routes: Vec<Route>,
}

/// A service and its backends.
#[derive(Clone, Debug)]
struct Route {
    service: SocketAddr,
    backends: Vec<SocketAddr>,
    protocol: u8,
    policy: Policy,
    flags: u8,
    /// With full NAT.
    source: Option<IpAddr>,
}

/// Backends of a service that shows what a policy costs.
const POLICY_BACKENDS: u16 = 8;
/// Ports of these services, in the order of [`Policy::ALL`], and of their backends.
const POLICY_PORT: u16 = 8_000;

/// Services of the main instance: one backend each, unless the policy is the matter.
fn routes() -> Result<Vec<Route>> {
    let route = |service: &str, backend: &[&str], protocol, policy, flags| -> Result<Route> {
        let backends = backend.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
        let service = service.parse()?;
        Ok(Route { service, backends, protocol, policy, flags, source: None })
    };
    let maglev = Policy::Maglev;
    let mut routes = vec![
        route("198.18.1.1:80", &["198.18.10.2:8080"], TCP, maglev, 0)?,
        route("[fd00:18:1::1]:80", &["[fd00:18:10::2]:8080"], TCP, maglev, 0)?,
        route("198.18.1.1:53", &["198.18.10.2:5353"], UDP, maglev, 0)?,
        route("[fd00:18:1::1]:53", &["[fd00:18:10::2]:5353"], UDP, maglev, 0)?,
        route("198.18.1.1:81", &["198.18.10.2:8081"], TCP, Policy::Adaptive, 0)?,
        route("198.18.1.1:82", &["198.18.10.2:8082"], TCP, maglev, service_flag::SOURCES)?,
        route("198.18.1.1:83", &[], TCP, maglev, 0)?,
        Route {
            source: Some(OUR_ADDRESS),
            ..route("198.18.1.1:84", &["198.18.10.2:8084"], TCP, maglev, 0)?
        },
    ];
    for (number, policy) in (0..).zip(Policy::ALL) {
        let port = POLICY_PORT + number;
        let backends: Vec<SocketAddr> = (0..POLICY_BACKENDS)
            .map(|backend| ([198, 18, 10, 2], 9_000 + number * 16 + backend).into())
            .collect();
        let service = ([198, 18, 1, 1], port).into();
        routes.push(Route { service, backends, protocol: TCP, policy, flags: 0, source: None });
    }
    Ok(routes)
}

impl Bed {
    /// Moves this process into a network namespace of its own, and onto one CPU, and loads.
    pub(crate) fn load(object: &Path, floors: &Path, extent: Extent) -> Result<Self> {
        let uplink = namespace_with_link()?;
        stay_on_one_cpu()?;
        let most = extent.flows.last().copied().unwrap_or(1);
        // Two entries a flow, and room: an LRU table evicts before it is full.
        let conns = CONNS_MAX.max(most.saturating_mul(3));
        let rig = |capacity| Rig::load(floors, capacity, uplink);
        let rigs = [rig(CONNS_MAX)?, rig(CONNS_MAX)?, rig(EMBRYOS_MAX)?, rig(conns)?];
        let million = Sizes { conns, embryos: EMBRYOS_MAX * 8, ..Sizes::default() };
        let sizes = [&Sizes::default(), &million];
        let weirs = sizes.map(|sizes| Weir::load(object, sizes));
        let weirs = weirs.into_iter().collect::<Result<_>>()?;
        let routes = routes()?;
        let mut bed = Self { weirs, rigs, beside: None, extent, uplink, routes };
        for route in bed.routes.clone() {
            bed.offer(MAIN, &route)?;
        }
        let tcp = bed.routes[0].clone();
        bed.offer(MILLION, &tcp)?;
        for rig in &mut bed.rigs {
            rig.serve(listen_key(&tcp), floor_backend(&tcp))?;
        }
        bed.many_services(object)?;
        Ok(bed)
    }

    /// An instance for each number of services, alike but for that number. The one that packets are
    /// for was the last to come.
    fn many_services(&mut self, object: &Path) -> Result<()> {
        let services = self.extent.services.last().copied().unwrap_or(1);
        let sizes = Sizes { services: services + 1, ..Sizes::default() };
        let Some(tcp) = self.routes.first().cloned() else { return Ok(()) };
        let target = Route { policy: Policy::RoundRobin, ..tcp };
        for count in self.extent.services.clone() {
            let instance = self.weirs.len();
            self.weirs.push(Weir::load(object, &sizes)?);
            for number in 1..count {
                let [high, low] = u16::try_from(number)?.to_be_bytes();
                let service = ([198, 19, high, low], 80).into();
                let backends = vec![([198, 18, 11, 2], 10_000 + u16::try_from(number)?).into()];
                self.offer(instance, &Route { service, backends, ..target.clone() })?;
            }
            self.offer(instance, &target)?;
        }
        Ok(())
    }

    fn offer(&mut self, instance: usize, route: &Route) -> Result<()> {
        let server = |address: &SocketAddr| Server {
            address: *address,
            way: way::LINK,
            ifindex: self.uplink,
            dst_mac: BACKEND_MAC,
            src_mac: LB_MAC,
        };
        let servers: Vec<Server> = route.backends.iter().map(server).collect();
        let Route { service: listen, protocol, policy, flags, source, .. } = *route;
        let servers = &servers;
        self.weirs[instance].serve(&Offer { listen, protocol, policy, flags, source, servers })
    }

    /// The TCP service.
    pub(crate) fn tcp_v4(&self) -> SocketAddr {
        self.routes[0].service
    }

    pub(crate) fn tcp_v6(&self) -> SocketAddr {
        self.routes[1].service
    }

    pub(crate) fn udp_v4(&self) -> SocketAddr {
        self.routes[2].service
    }

    pub(crate) fn udp_v6(&self) -> SocketAddr {
        self.routes[3].service
    }

    /// A service whose requests in flight are counted, with one backend.
    pub(crate) fn with_signals(&self) -> SocketAddr {
        self.routes[4].service
    }

    /// A service with an empty allow list.
    pub(crate) fn closed(&self) -> SocketAddr {
        self.routes[5].service
    }

    /// A service without a backend.
    pub(crate) fn empty(&self) -> SocketAddr {
        self.routes[6].service
    }

    /// A service whose backend sees this host in place of its clients.
    pub(crate) fn full_nat(&self) -> SocketAddr {
        self.routes[7].service
    }

    /// A service for each policy.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (Policy, SocketAddr)> {
        let of_policies = self.routes.iter().filter(|route| route.service.port() >= POLICY_PORT);
        of_policies.map(|route| (route.policy, route.service))
    }

    /// An address that no service has.
    pub(crate) fn stranger() -> Result<SocketAddr> {
        Ok(NOBODY_LISTENS.parse()?)
    }

    /// The backends behind a service.
    pub(crate) fn backends_of(&self, service: SocketAddr) -> &[SocketAddr] {
        let route = self.routes.iter().find(|route| route.service == service);
        route.map_or(&[], |route| &route.backends)
    }

    /// The first backend behind a service; the service itself if there is none.
    pub(crate) fn backend_of(&self, service: SocketAddr) -> SocketAddr {
        self.backends_of(service).first().copied().unwrap_or(service)
    }

    /// The service of a backend.
    pub(crate) fn service_of(&self, backend: SocketAddr) -> SocketAddr {
        let route = self.routes.iter().find(|route| route.backends.contains(&backend));
        route.map_or(backend, |route| route.service)
    }

    /// MAC addresses, destination first, of frames to the backends.
    #[expect(clippy::unused_self, reason = "what a frame must look like is asked of the bed")]
    pub(crate) fn backend_macs(&self) -> [u8; 12] {
        join(BACKEND_MAC, LB_MAC)
    }

    /// MAC addresses, destination first, of frames to the clients.
    #[expect(clippy::unused_self, reason = "what a frame must look like is asked of the bed")]
    pub(crate) fn client_macs(&self) -> [u8; 12] {
        join(CLIENT_MAC, LB_MAC)
    }

    /// The program of a subject.
    pub(crate) fn fd(&self, subject: &Subject) -> Result<ProgramFd> {
        match subject.under {
            Under::Floor(name) => self.rigs[subject.rig].fd(name),
            Under::Weir(hook, instance) => self.weirs[instance].fd(hook),
            Under::Beside(_) => self.beside.as_ref().context("nothing to measure beside")?.fd(),
        }
    }

    /// Establishes TCP flows in the real program: SYN and ACK, a part at a time, because the table
    /// of half-open flows is smaller than that of the others.
    pub(crate) fn establish(
        &mut self,
        (hook, instance): (Hook, usize),
        server: SocketAddr,
        first: u32,
        count: u32,
    ) -> Result<()> {
        let step = if instance == MILLION { EMBRYOS_MAX } else { 500 };
        for start in (first..first + count).step_by(step as usize) {
            let part = step.min(first + count - start);
            for flags in [SYN, ACK] {
                self.send((hook, instance), Packet::tcp(flags, server), start, part)?;
            }
        }
        Ok(())
    }

    /// Sends one packet of each flow through the real program. TC sees them come in by the uplink.
    pub(crate) fn send(
        &mut self,
        (hook, instance): (Hook, usize),
        packet: Packet,
        first: u32,
        count: u32,
    ) -> Result<()> {
        let fd = self.weirs[instance].fd(hook)?;
        let [rig, ..] = &mut self.rigs;
        rig.run(hook, &fd, packet.plan(Flows::Next(first)), count, self.uplink)?;
        Ok(())
    }

    /// Records flows in a rig's table, two entries each as the real program does.
    pub(crate) fn record(&mut self, rig: usize, first: u32, count: u32) -> Result<()> {
        let packet = Packet::tcp(SYN, self.tcp_v4());
        let rig = &mut self.rigs[rig];
        let fd = rig.fd("new2")?;
        let before = rig.delivered()?;
        rig.run(Hook::Xdp, &fd, packet.plan(Flows::Next(first)), count, 0)?;
        let recorded = rig.delivered()? - before;
        ensure!(recorded == u64::from(count), "the floors recorded {recorded} of {count} flows");
        Ok(())
    }
}

fn join(destination: [u8; 6], source: [u8; 6]) -> [u8; 12] {
    let mut both = [0; 12];
    both[..6].copy_from_slice(&destination);
    both[6..].copy_from_slice(&source);
    both
}

fn listen_key(route: &Route) -> ListenKey {
    let protocol = u16::from(route.protocol);
    ListenKey { address: v4_word(route.service), port: route.service.port().to_be(), protocol }
}

fn floor_backend(route: &Route) -> Backend {
    let macs = join(BACKEND_MAC, LB_MAC);
    let (start, rest) = macs.split_at(8);
    let backend = route.backends.first().copied().unwrap_or(route.service);
    Backend {
        macs: u64::from_ne_bytes(start.try_into().unwrap_or_default()),
        macs2: u32::from_ne_bytes(rest.try_into().unwrap_or_default()),
        address: v4_word(backend),
        port: u32::from(backend.port().to_be()),
        state: 1,
    }
}

/// An IPv4 address as it lies on the wire.
fn v4_word(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(v4) => u32::from_ne_bytes(v4.ip().octets()),
        SocketAddr::V6(_) => 0,
    }
}

/// Test runs look interfaces up in the caller's namespace, which here has a loopback interface and
/// one veth.
fn namespace_with_link() -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace: root is needed")?;
    for command in ["link add up0 type veth peer name up1", "link set up0 up", "link set up1 up"] {
        let status = Command::new("ip").args(command.split(' ')).status().context("ip")?;
        ensure!(status.success(), "\"ip {command}\" failed");
    }
    Ok(if_nametoindex("up0")?)
}

/// Caches and per-CPU maps stay warm where the process stays.
fn stay_on_one_cpu() -> Result<()> {
    let myself = Pid::from_raw(0);
    let allowed = sched_getaffinity(myself)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.context("no CPU")?)?;
    sched_setaffinity(myself, &one).context("cannot stay on one CPU")
}
