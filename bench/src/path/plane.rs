//! A plane: a laboratory of its own with servers, and one way of getting packets to them.
//!
//! Planes of one round stand side by side and are measured in turn; no plane sees another's
//! connection tracking, and the next round has new ones.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use lb_common::abi::backend::way;
use lb_userspace::{
    config,
    daemon::{Options, background::Background},
    lab::{CLIENT_LINK, LB_V4, Lab, LabPlan, Netns, Topology, UPLINK, vip_v4},
    model::Policy,
};
use nix::net::if_::if_nametoindex;

use super::{
    Kind,
    cpu::Meter,
    server::{Servers, wait_for},
};
use crate::{
    engine::Engine,
    weir::{Offer, Server, Sizes, Weir},
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
}

impl Plane {
    /// Builds the network and starts the servers. Links are as containers have them: checksums
    /// left to the link, no GRO.
    pub(crate) fn build(kind: Kind, meter: &Meter, object: &Path) -> Result<Self> {
        let plan = LabPlan {
            backends: BACKENDS,
            topology: Topology::Bridge,
            ipv6: false,
            forwarding: true,
            checksum_offload: true,
            gro: false,
        };
        let lab = Lab::new("weirbench", plan)?;
        let servers = Servers::start(&lab, meter)?;
        let mut plane = Self { kind, servers, weir: None, daemon: None, engine: None, lab };
        match kind {
            Kind::Weir | Kind::Again | Kind::One => plane.weir = Some(plane.attach(object)?),
            Kind::Nft => plane.nft()?,
            Kind::Docker | Kind::Proxy => plane.publish(meter)?,
            Kind::Host => plane.daemon = Some(plane.follow(meter)?),
            Kind::Routing => {}
        }
        plane.ip(true, &format!("route add 198.18.2.0/24 dev {UPLINK}"))?;
        Ok(plane)
    }

    /// Whether all servers still run.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.servers.check()
    }

    /// Where clients find a service: at the VIP, or at the backends themselves.
    pub(crate) fn targets(&self, service: Service) -> Vec<SocketAddr> {
        match self.kind {
            Kind::Weir | Kind::Again | Kind::Nft | Kind::One | Kind::Host => {
                vec![(vip_v4(1), service.port).into()]
            }
            Kind::Docker => vec![(LB_V4, service.port).into()],
            Kind::Proxy => vec![(Ipv4Addr::LOCALHOST, service.port).into()],
            Kind::Routing => self.backends(service),
        }
    }

    /// Where the client is.
    pub(crate) fn client(&self) -> &Netns {
        match self.kind {
            Kind::Proxy | Kind::Host => self.lab.lb(),
            Kind::Weir | Kind::Again | Kind::Nft | Kind::Routing | Kind::One | Kind::Docker => {
                self.lab.client()
            }
        }
    }

    /// The backends of a service.
    fn backends(&self, service: Service) -> Vec<SocketAddr> {
        let one = service == BULK || matches!(self.kind, Kind::One | Kind::Host);
        let count = if one { 1 } else { usize::from(BACKENDS) };
        let backends = self.lab.backends().iter().take(count);
        backends.map(|backend| (backend.v4, service.backend_port).into()).collect()
    }

    /// Gives the client another address to speak from. Connections of the last run are still
    /// remembered, and new ones that look like them are not new.
    pub(crate) fn fresh_source(&self, number: u8) -> Result<()> {
        let source = Ipv4Addr::new(198, 18, 2, number);
        self.ip(false, &format!("address add {source}/32 dev {CLIENT_LINK}"))?;
        self.ip(false, &format!("route replace default via {LB_V4} src {source}"))
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
    fn attach(&self, object: &Path) -> Result<Weir> {
        let mut weir = Weir::load(object, &Sizes::default())?;
        let lab = &self.lab;
        let attached = lab.lb().in_netns(|| -> Result<Weir> {
            for service in SERVICES {
                let protocol = if service.udp { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP };
                let listen = (vip_v4(1), service.port).into();
                let mut servers = Vec::new();
                for (address, backend) in self.backends(service).into_iter().zip(lab.backends()) {
                    let ifindex = if_nametoindex(backend.host_link.as_str())?;
                    let (dst_mac, src_mac) = (backend.mac.0, [2, 0, 0, 0, 10, 1]);
                    servers.push(Server { address, way: way::PEER, ifindex, dst_mac, src_mac });
                }
                let protocol = u8::try_from(protocol)?;
                let (policy, servers) = (Policy::RoundRobin, &servers[..]);
                weir.serve(&Offer { listen, protocol, policy, flags: 0, servers })?;
            }
            for backend in lab.backends() {
                weir.attach_tc(&backend.host_link)?;
            }
            weir.attach_tc(UPLINK)?;
            Ok(weir)
        });
        attached?
    }

    /// A container whose port the engine publishes, with the server of the other planes in it.
    fn publish(&mut self, meter: &Meter) -> Result<()> {
        let engine = Engine::start(&self.lab)?;
        engine.run("web", &["-p", &format!("{}:{}", HTTP.port, HTTP.backend_port)])?;
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
    fn follow(&self, meter: &Meter) -> Result<Background> {
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
        Background::start(self.lab.lb(), options)
    }

    fn nft(&self) -> Result<()> {
        let rules = self.ruleset()?;
        let mut command = self.lab.lb().command("nft");
        let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("nft")?;
        child.stdin.take().context("nft without input")?.write_all(rules.as_bytes())?;
        ensure!(child.wait()?.success(), "nft refused:\n{rules}");
        Ok(())
    }

    /// Backends take turns, as they do in the other plane.
    fn ruleset(&self) -> Result<String> {
        let mut rules = String::from(
            "table ip weirbench { chain pre { type nat hook prerouting priority dstnat;\n",
        );
        for service in SERVICES {
            let protocol = if service.udp { "udp" } else { "tcp" };
            let backends = self.backends(service);
            let mut map = String::new();
            for (turn, backend) in backends.iter().enumerate() {
                let IpAddr::V4(address) = backend.ip() else { continue };
                write!(map, "{turn} : {address}, ")?;
            }
            let (vip, port, to) = (vip_v4(1), service.port, service.backend_port);
            writeln!(
                rules,
                "ip daddr {vip} {protocol} dport {port} \
                 dnat to numgen inc mod {} map {{ {map} }}:{to}",
                backends.len()
            )?;
        }
        rules.push_str("}\n}\n");
        Ok(rules)
    }
}
