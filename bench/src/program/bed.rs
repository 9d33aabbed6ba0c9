//! Everything loaded and filled: the same services and flows in the real program and the floors.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use lb_common::{
    abi::{backend::way, service::select},
    maps::CONNS_MAX,
};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    unistd::Pid,
};

use super::{
    frame::{ACK, BACKEND_MAC, CLIENT_MAC, Flows, LB_MAC, Packet, SYN, TCP, UDP},
    layout::{Backend, ListenKey},
    rig::Rig,
    subject::{Subject, Under},
};
use crate::weir::{Hook, Server, Weir};

/// The backend of the floors in their array.
const NOBODY_LISTENS: &str = "198.18.1.9:9999";

/// What is loaded.
pub(crate) struct Bed {
    pub(crate) weir: Weir,
    /// With a table for established flows, and with one that new flows have filled.
    pub(crate) rigs: [Rig; 2],
    /// An interface that packets may claim to come from.
    uplink: u32,
    routes: [Route; 3],
}

/// A service and its one backend.
#[derive(Clone, Copy, Debug)]
struct Route {
    service: SocketAddr,
    backend: SocketAddr,
    protocol: u8,
}

impl Bed {
    /// Moves this process into a network namespace of its own, and onto one CPU, and loads.
    pub(crate) fn load(object: &Path, floors: &Path) -> Result<Self> {
        let uplink = namespace_with_link()?;
        stay_on_one_cpu()?;
        let rigs = [Rig::load(floors, CONNS_MAX, uplink)?, Rig::load(floors, CONNS_MAX, uplink)?];
        let route = |service: &str, backend: &str, protocol| -> Result<Route> {
            Ok(Route { service: service.parse()?, backend: backend.parse()?, protocol })
        };
        let routes = [
            route("198.18.1.1:80", "198.18.10.2:8080", TCP)?,
            route("[fd00:18:1::1]:80", "[fd00:18:10::2]:8080", TCP)?,
            route("198.18.1.1:53", "198.18.10.2:5353", UDP)?,
        ];
        let mut bed = Self { weir: Weir::load(object)?, rigs, uplink, routes };
        for route in bed.routes {
            let server = Server {
                address: route.backend,
                way: way::LINK,
                ifindex: uplink,
                dst_mac: BACKEND_MAC,
                src_mac: LB_MAC,
            };
            bed.weir.serve(route.service, route.protocol, select::HASH_FLOW, &[server])?;
        }
        let [tcp, ..] = bed.routes;
        for rig in &mut bed.rigs {
            rig.serve(listen_key(&tcp), floor_backend(&tcp))?;
        }
        Ok(bed)
    }

    /// The TCP service.
    pub(crate) const fn tcp_v4(&self) -> SocketAddr {
        self.routes[0].service
    }

    pub(crate) const fn tcp_v6(&self) -> SocketAddr {
        self.routes[1].service
    }

    pub(crate) const fn udp_v4(&self) -> SocketAddr {
        self.routes[2].service
    }

    /// An address that no service has.
    pub(crate) fn stranger() -> Result<SocketAddr> {
        Ok(NOBODY_LISTENS.parse()?)
    }

    /// The backend behind a service; the service itself if there is none.
    pub(crate) fn backend_of(&self, service: SocketAddr) -> SocketAddr {
        let route = self.routes.iter().find(|route| route.service == service);
        route.map_or(service, |route| route.backend)
    }

    /// The service of a backend.
    pub(crate) fn service_of(&self, backend: SocketAddr) -> SocketAddr {
        let route = self.routes.iter().find(|route| route.backend == backend);
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
            Under::Weir(hook) => self.weir.fd(hook),
        }
    }

    /// Establishes TCP flows in the real program: SYN and ACK, a few at a time, because the table
    /// of half-open flows is small.
    pub(crate) fn establish(
        &mut self,
        hook: Hook,
        server: SocketAddr,
        first: u32,
        count: u32,
    ) -> Result<()> {
        const STEP: u32 = 500;
        for start in (first..first + count).step_by(STEP as usize) {
            let part = STEP.min(first + count - start);
            for flags in [SYN, ACK] {
                self.send(hook, Packet::tcp(flags, server), start, part)?;
            }
        }
        Ok(())
    }

    /// Sends one packet of each flow through the real program. TC sees them come in by the uplink.
    pub(crate) fn send(
        &mut self,
        hook: Hook,
        packet: Packet,
        first: u32,
        count: u32,
    ) -> Result<()> {
        let fd = self.weir.fd(hook)?;
        let [rig, _] = &mut self.rigs;
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
    Backend {
        macs: u64::from_ne_bytes(start.try_into().unwrap_or_default()),
        macs2: u32::from_ne_bytes(rest.try_into().unwrap_or_default()),
        address: v4_word(route.backend),
        port: u32::from(route.backend.port().to_be()),
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
