//! A plane: a laboratory of its own with servers, and one way of getting packets to them.
//!
//! Planes of one round stand side by side and are measured in turn; no plane sees another's
//! connection tracking, and the next round has new ones.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZero,
    path::Path,
    process::Stdio,
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::programs::ProgramFd;
use lb_common::abi::backend::way;
use lb_userspace::{
    config,
    daemon::{Options, background::Background},
    lab::{CLIENT_LINK, LB_V4, LB_V6, Lab, LabPlan, Netns, Topology, UPLINK, vip_v4, vip_v6},
    model::Policy,
};
use nix::net::if_::if_nametoindex;

use super::{
    cpu::Meter,
    kind::Kind,
    peers::{self, Balanced},
    server::{Servers, wait_for},
};
use crate::{
    engine::Engine,
    report::Peer,
    weir::{Hook, Offer, Server, Sizes, Weir},
};

pub(crate) const HTTP: Service = Service { port: 80, backend_port: 8080, udp: false };
pub(crate) const DATAGRAMS: Service = Service { port: 53, backend_port: 5353, udp: true };
/// One backend only: iperf3 opens two connections that belong together.
pub(crate) const BULK: Service = Service { port: 5201, backend_port: 5201, udp: false };

/// What the VIP offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    port: u16,
    pub(crate) backend_port: u16,
    udp: bool,
}

const SERVICES: [Service; 3] = [HTTP, DATAGRAMS, BULK];

/// Backends of every plane.
const BACKENDS: u8 = 3;

/// One plane.
pub(crate) struct Plane {
    pub(crate) kind: Kind,
    // Dropped in this order: servers, then the programs, then the namespaces.
    servers: Servers,
    weir: Option<Weir>,
    daemon: Option<Background>,
    engine: Option<Engine>,
    pub(crate) lab: Lab,
    /// How it was set up.
    config: String,
}

impl Plane {
    /// Builds the network and starts the servers. Links are as containers have them: checksums
    /// left to the link, no GRO.
    pub(crate) fn build(kind: Kind, meter: &Meter, object: &Path) -> Result<Self> {
        let plan = LabPlan {
            backends: BACKENDS,
            topology: Topology::Bridge,
            ipv6: kind.is_v6(),
            forwarding: true,
            checksum_offload: true,
            // XDP hands frames only to a link that polls.
            gro: matches!(kind, Kind::Xdp | Kind::Redirect),
        };
        let lab = Lab::new("weirbench", plan)?;
        let servers = Servers::start(&lab, meter)?;
        let (weir, daemon, engine, config) = (None, None, None, String::new());
        let mut plane = Self { kind, servers, weir, daemon, engine, lab, config };
        plane.ip(true, &format!("route add 198.18.2.0/24 dev {UPLINK}"))?;
        if kind.is_v6() {
            plane.ip(true, &format!("route add fd00:18:2::/64 dev {UPLINK}"))?;
        }
        match kind {
            Kind::Weir
            | Kind::Again
            | Kind::Weir6
            | Kind::Link
            | Kind::Stack
            | Kind::Xdp
            | Kind::One
            | Kind::WeirOf(_) => {
                plane.attach(object)?;
            }
            Kind::Nft | Kind::Nft6 => plane.write_rules("nft", &["-f", "-"], peers::nft)?,
            Kind::NftOf(_) => plane.write_rules("nft", &["-f", "-"], peers::nft_map)?,
            Kind::Iptables | Kind::IptablesOf(_) => {
                let options = ["--noflush", "--wait"];
                plane.write_rules("iptables-restore", &options, peers::iptables)?;
            }
            Kind::Ipvs => {
                plane.own_the_vip()?;
                plane.write_rules("ipvsadm", &["--restore"], peers::ipvs)?;
            }
            Kind::Haproxy | Kind::Nginx => plane.carry(meter)?,
            Kind::Docker | Kind::Proxy => plane.publish(meter)?,
            Kind::Host => plane.follow(meter)?,
            Kind::Redirect | Kind::Routing | Kind::Direct => {}
        }
        Ok(plane)
    }

    /// What it is and how it was set up.
    pub(crate) fn peer(&self) -> Peer {
        const LONGEST: usize = 20_000;
        let ask: &[&str] = match self.kind {
            Kind::Nft | Kind::Nft6 | Kind::NftOf(_) => &["nft", "--version"],
            Kind::Iptables | Kind::IptablesOf(_) => &["iptables-restore", "--version"],
            Kind::Ipvs => &["ipvsadm", "--version"],
            Kind::Haproxy => &["haproxy", "-v"],
            Kind::Nginx => &["nginx", "-v"],
            Kind::Docker | Kind::Proxy => &["dockerd", "--version"],
            Kind::Redirect | Kind::Routing | Kind::Direct => &["ip", "-V"],
            Kind::Weir
            | Kind::Again
            | Kind::Weir6
            | Kind::Link
            | Kind::Stack
            | Kind::Xdp
            | Kind::WeirOf(_)
            | Kind::One
            | Kind::Host => {
                return Peer::ours(self.kind.name(), self.config.clone());
            }
        };
        let mut config = self.config.clone();
        if config.len() > LONGEST {
            // ASCII all through: there is a character boundary everywhere.
            config.truncate(LONGEST);
            config.push_str("\n[and so on]\n");
        }
        Peer::new(self.kind.name(), ask, config)
    }

    /// The program that frames of a driver go through before the stack gets them, if any.
    pub(crate) fn xdp(&self) -> Result<Option<ProgramFd>> {
        let weir = self.weir.as_ref().filter(|_| self.kind == Kind::Xdp);
        weir.map(|weir| weir.fd(Hook::Xdp)).transpose()
    }

    /// Whether all servers still run.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.servers.check()
    }

    /// Where clients find a service: at the VIP, or at the backends themselves.
    pub(crate) fn targets(&self, service: Service) -> Vec<SocketAddr> {
        let address: IpAddr = if self.kind.is_direct() {
            return self.backends(service);
        } else if self.kind == Kind::Docker {
            LB_V4.into()
        } else if self.kind == Kind::Proxy {
            Ipv4Addr::LOCALHOST.into()
        } else {
            self.vip()
        };
        vec![SocketAddr::new(address, service.port)]
    }

    fn vip(&self) -> IpAddr {
        if self.kind.is_v6() { vip_v6(1).into() } else { vip_v4(1).into() }
    }

    /// Where the client is.
    pub(crate) fn client(&self) -> &Netns {
        if matches!(self.kind, Kind::Proxy | Kind::Host | Kind::Direct) {
            self.lab.lb()
        } else {
            self.lab.client()
        }
    }

    /// The backends of a service.
    fn backends(&self, service: Service) -> Vec<SocketAddr> {
        let one = service == BULK || matches!(self.kind, Kind::One | Kind::Host | Kind::Direct);
        let count = if one { 1 } else { usize::from(BACKENDS) };
        let address = |v4: Ipv4Addr, v6: Ipv6Addr| -> IpAddr {
            if self.kind.is_v6() { v6.into() } else { v4.into() }
        };
        let backends = self.lab.backends().iter().take(count);
        let at = |address| SocketAddr::new(address, service.backend_port);
        backends.map(|backend| at(address(backend.v4, backend.v6))).collect()
    }

    /// Everything that is balanced: services that nobody asks first.
    fn balanced(&self) -> Vec<Balanced> {
        let asked = SERVICES.map(|service| Balanced {
            listen: SocketAddr::new(self.vip(), service.port),
            udp: service.udp,
            backends: self.backends(service),
        });
        let first = asked[0].backends[0];
        peers::others(self.kind.others(), first).chain(asked).collect()
    }

    /// Gives the client another address to speak from. Connections of the last run are still
    /// remembered, and new ones that look like them are not new.
    pub(crate) fn fresh_source(&self, number: u8) -> Result<()> {
        let source = Ipv4Addr::new(198, 18, 2, number);
        self.ip(false, &format!("address add {source}/32 dev {CLIENT_LINK}"))?;
        self.ip(false, &format!("route replace default via {LB_V4} src {source}"))?;
        if self.kind.is_v6() {
            let source = Ipv6Addr::new(0xfd00, 0x18, 2, 0, 0, 0, 0, number.into());
            self.ip(false, &format!("address add {source}/128 dev {CLIENT_LINK} nodad"))?;
            self.ip(false, &format!("-6 route replace default via {LB_V6} src {source}"))?;
        }
        Ok(())
    }

    /// Runs `ip` where the balancer is, or the client.
    fn ip(&self, lb: bool, arguments: &str) -> Result<()> {
        let netns = if lb { self.lab.lb() } else { self.lab.client() };
        let output = netns.command("ip").args(arguments.split(' ')).output().context("ip")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "\"ip {arguments}\": {}", said.trim());
        Ok(())
    }

    /// The real program on the uplink and on the host's end of every backend's link.
    fn attach(&mut self, object: &Path) -> Result<()> {
        let sizes = Sizes { services: u32::from(self.kind.others()) + 8, ..Sizes::default() };
        let mut weir = Weir::load(object, &sizes)?;
        let (lab, services) = (&self.lab, self.balanced());
        let (way, how) = if self.kind == Kind::Link {
            (way::LINK, "redirect to the backend's link")
        } else if self.kind == Kind::Stack {
            (way::STACK, "the host's routes")
        } else {
            (way::PEER, "redirect_peer")
        };
        let attached = lab.lb().in_netns(|| -> Result<Weir> {
            for Balanced { listen, udp, backends } in services {
                let protocol = if udp { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP };
                let protocol = u8::try_from(protocol)?;
                let mut servers = Vec::new();
                for (address, backend) in backends.into_iter().zip(lab.backends()) {
                    let link = if_nametoindex(backend.host_link.as_str())?;
                    let ifindex = if way == way::STACK { 0 } else { link };
                    let (dst_mac, src_mac) = (backend.mac.0, [2, 0, 0, 0, 10, 1]);
                    servers.push(Server { address, way, ifindex, dst_mac, src_mac });
                }
                let (policy, servers) = (Policy::RoundRobin, &servers[..]);
                weir.serve(&Offer { listen, protocol, policy, flags: 0, source: None, servers })?;
            }
            if self.kind == Kind::Xdp {
                return Ok(weir);
            }
            for backend in lab.backends() {
                weir.attach_tc(&backend.host_link)?;
            }
            weir.attach_tc(UPLINK)?;
            Ok(weir)
        });
        self.weir = Some(attached??);
        if self.kind == Kind::Xdp {
            self.config =
                String::from("XDP, called by the generator in place of a driver; redirect\n");
            return Ok(());
        }
        self.config = format!(
            "TC on {UPLINK} and on the host's end of each backend's link; policy round-robin; \
             forward by {how}; {} services besides\n",
            self.kind.others()
        );
        Ok(())
    }

    /// A container whose port the engine publishes, with the server of the other planes in it.
    fn publish(&mut self, meter: &Meter) -> Result<()> {
        let engine = Engine::start(&self.lab)?;
        let publish = format!("{}:{}", HTTP.port, HTTP.backend_port);
        engine.run("web", &["-p", &publish])?;
        self.config = format!("docker run -d --name web -p {publish} IMAGE\n");
        let pid = engine.docker(&["inspect", "-f", "{{.State.Pid}}", "web"])?;
        self.servers.in_container(&self.lab, meter, &pid)?;
        let address = engine.docker(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"])?;
        let address: Ipv4Addr = address.parse().context("the container's address")?;
        self.lab.lb().in_netns(|| wait_for((address, HTTP.backend_port).into()))??;
        for proxy in engine.proxies()? {
            meter.adopt(proxy)?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    /// The daemon, for processes in the group of the meter.
    fn follow(&mut self, meter: &Meter) -> Result<()> {
        let backends = self.backends(HTTP).into_iter().map(|at| format!("{{ address: \"{at}\" }}"));
        let text = format!(
            "interfaces: [{UPLINK}]\nattach: tc\nhost-clients: {}\n\
             admin: {{ socket: {}, http: false }}\nservices:\n  - name: web\n    \
             listen: [\"{}:{}\"]\n    policy: round-robin\n    backends: [{}]\n",
            meter.directory().display(),
            std::env::temp_dir().join(format!("{}.sock", self.lab.lb().name())).display(),
            vip_v4(1),
            HTTP.port,
            backends.collect::<Vec<_>>().join(", "),
        );
        let loaded = config::parse("weir.yaml", &text).map_err(|error| anyhow!("{error}"))?;
        let options = Options { config: loaded.config, file: None, bpffs: None };
        self.daemon = Some(Background::start(self.lab.lb(), options)?);
        self.config = text;
        Ok(())
    }

    /// Hands rules for all services to the program that reads them.
    fn write_rules(
        &mut self,
        program: &str,
        arguments: &[&str],
        rules: fn(&[Balanced]) -> String,
    ) -> Result<()> {
        let rules = rules(&self.balanced());
        let mut command = self.lab.lb().command(program);
        let mut child =
            command.args(arguments).stdin(Stdio::piped()).spawn().context("no rules")?;
        child.stdin.take().context("no input")?.write_all(rules.as_bytes())?;
        ensure!(child.wait()?.success(), "{program} refused its rules");
        self.config = rules;
        Ok(())
    }

    /// The VIP is an address of the balancer: its processes listen there.
    fn own_the_vip(&self) -> Result<()> {
        self.ip(true, &format!("address add {}/32 dev lo", vip_v4(1)))
    }

    /// A process that carries connections.
    fn carry(&mut self, meter: &Meter) -> Result<()> {
        self.own_the_vip()?;
        let services = self.balanced();
        let name = if self.kind == Kind::Haproxy { "haproxy" } else { "nginx" };
        let home = self.servers.home(name)?;
        let file = home.join(format!("{name}.conf"));
        let path = file.to_str().context("a path that is no text")?;
        if self.kind == Kind::Haproxy {
            self.config = peers::haproxy(&services);
            fs::write(&file, &self.config)?;
            self.servers.carry(&self.lab, meter, "haproxy", &["-db", "-q", "-f", path])?;
        } else {
            let stream = peers::nginx_stream().context("nginx has no stream module")?;
            let workers = thread::available_parallelism().map_or(1, NonZero::get);
            self.config = peers::nginx(&services, stream, &home, workers);
            fs::write(&file, &self.config)?;
            let log = home.join("error.log");
            let log = log.to_str().context("a path that is no text")?;
            self.servers.carry(&self.lab, meter, "nginx", &["-c", path, "-e", log])?;
        }
        self.lab.lb().in_netns(|| wait_for((vip_v4(1), HTTP.port).into()))??;
        Ok(())
    }
}
