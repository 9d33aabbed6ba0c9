//! Servers and clients that nobody here wrote: nginx, curl, iperf3.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, BackendState},
    },
    demo::client::Load,
    lab::{LabBackend, LabPlan, Topology, vip_v4, vip_v6},
    model::{
        AllDown, Attach, BackendSpec, Endpoint, HealthCheck, Listen, Policy, PortRange, Probe,
        Protocol, Service, ServiceName, Weight,
    },
};

use super::world::{World, eventually, plan};

const NGINX_PORT: u16 = 8081;
const IPERF_PORT: u16 = 5201;
/// More than fits into the buffers on the way.
const LARGE: usize = 32 << 20;

/// A process that ends with the value.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn answers(backend: &LabBackend, address: IpAddr, port: u16) -> bool {
    let connect = || TcpStream::connect(SocketAddr::new(address, port)).is_ok();
    backend.netns.in_netns(connect).unwrap()
}

/// nginx in a backend, serving `home`; it says who it is in a header.
fn nginx(home: &Path, backend: &LabBackend, name: &str) -> Peer {
    let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {}/{name}-{what};\n", home.display()))
        .concat();
    let home = home.display();
    let conf = format!(
        "daemon off; master_process off; pid {home}/{name}.pid; error_log {home}/{name}.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; {places} server {{ listen {NGINX_PORT}; \
         listen [::]:{NGINX_PORT} ipv6only=on; root {home}/www; add_header X-Backend {name}; }} }}\n"
    );
    let file = format!("{home}/{name}.conf");
    fs::write(&file, conf).unwrap();
    let mut command = backend.netns.command("nginx");
    command.args(["-c", &file, "-e", &format!("{home}/{name}.log")]).stdin(Stdio::null());
    let peer = Peer(command.spawn().unwrap());
    for address in [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)] {
        eventually("nginx answers", || answers(backend, address, NGINX_PORT));
    }
    peer
}

/// A laboratory whose service is nginx in three backends.
struct Nginx {
    servers: Vec<Peer>,
    home: tempfile::TempDir,
    large: Vec<u8>,
    world: World,
}

impl Nginx {
    fn new(plan: LabPlan, attach: Attach) -> Self {
        let home = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        fs::create_dir(home.path().join("www")).unwrap();
        fs::write(home.path().join("www/index.html"), "small\n").unwrap();
        fs::write(home.path().join("www/large"), &large).unwrap();
        // nginx gives root away and reads as somebody else.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(home.path(), open).unwrap();
        let world = World::with(plan, attach, Policy::RoundRobin, |config| {
            let service = &mut config.services[0];
            service.backends.iter_mut().for_each(|backend| backend.endpoint.port = NGINX_PORT);
            service.health = Some(HealthCheck {
                probe: Probe::Http { path: "/".to_owned() },
                interval: Duration::from_millis(100),
                timeout: Duration::from_millis(90),
                rise: 2,
                fall: 2,
                port: None,
                all_down: AllDown::Try,
            });
        });
        let mut nginx = Self { servers: Vec::new(), home, large, world };
        for index in 0..nginx.world.lab.backends().len() {
            nginx.serve(index);
        }
        nginx.wait_for(BackendState::Up, 0..3);
        nginx
    }

    fn serve(&mut self, index: usize) {
        let backend = &self.world.lab.backends()[index];
        let peer = nginx(self.home.path(), backend, &format!("b{}", index + 1));
        self.servers.insert(index, peer);
    }

    fn wait_for(&self, state: BackendState, backends: std::ops::Range<usize>) {
        let addresses: Vec<String> = backends
            .flat_map(|index| {
                let backend = &self.world.lab.backends()[index];
                [format!("{}:", backend.v4), format!("[{}]:", backend.v6)]
            })
            .collect();
        eventually("the health checks have noticed", || {
            let all: Vec<BackendReport> = self.world.ask(&Request::Backends);
            let about = |address: &String| all.iter().find(|one| one.endpoint.starts_with(address));
            addresses.iter().all(|address| about(address).is_some_and(|one| one.state == state))
        });
    }

    /// curl in the client's namespace, which must succeed.
    fn curl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.world.lab.client().command("curl");
        command.args(["-sS", "-g", "--fail", "--max-time", "30"]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    }
}

fn remote() -> LabPlan {
    LabPlan { gro: true, ..plan(Topology::Remote) }
}

#[test]
fn nginx_answers_curl_small_and_large_over_every_hook() {
    let hooks = [
        (plan(Topology::Bridge), Attach::Tc),
        (remote(), Attach::Xdp),
        (plan(Topology::Remote), Attach::XdpGeneric),
    ];
    for (plan, attach) in hooks {
        let nginx = Nginx::new(plan, attach);
        for vip in [vip_v4(1).to_string(), format!("[{}]", vip_v6(1))] {
            // One invocation of curl keeps its connection alive unless told otherwise.
            let small = format!("http://{vip}/");
            let close = ["-H", "Connection: close", "-w", "%header{x-backend} %{remote_ip}\n"];
            let all = nginx.curl(&[&close[..], &[small.as_str(); 30]].concat());
            let text = String::from_utf8(all).unwrap();
            for name in ["b1", "b2", "b3"] {
                let line = format!("{name} {}", vip.trim_matches(['[', ']']));
                assert_eq!(text.matches(&line).count(), 10, "{attach:?} {vip}: {text}");
            }
            let large = nginx.curl(&[&format!("http://{vip}/large")]);
            assert!(large == nginx.large, "{attach:?} {vip}: {} bytes", large.len());
        }
    }
}

#[test]
fn large_bodies_are_whole_with_checksums_made_by_the_stack_and_left_to_the_link() {
    // A checksum that a local sender leaves to its link is never complete in XDP: with XDP on its
    // other end the client's own link makes them.
    let setups = [
        (plan(Topology::Bridge), Attach::Tc, &["up-c", "up0", "eth0"][..]),
        (remote(), Attach::Xdp, &["up0", "dn0", "eth0"]),
    ];
    for (plan, attach, links) in setups {
        let nginx = Nginx::new(plan, attach);
        let lab = &nginx.world.lab;
        let mut ends = vec![(lab.client(), "up-c"), (lab.lb(), "up0"), (lab.lb(), "dn0")];
        ends.extend(lab.backends().iter().map(|backend| (&backend.netns, "eth0")));
        for offload in ["off", "on"] {
            for (netns, link) in ends.iter().filter(|(_, link)| links.contains(link)) {
                let mut ethtool = netns.command("ethtool");
                ethtool.args(["-K", link, "tx", offload]).stdout(Stdio::null());
                assert!(ethtool.status().unwrap().success(), "{link}");
            }
            for vip in [vip_v4(1).to_string(), format!("[{}]", vip_v6(1))] {
                let large = nginx.curl(&[&format!("http://{vip}/large")]);
                assert!(large == nginx.large, "{attach:?} tx {offload} {vip}: {}", large.len());
            }
        }
    }
}

#[test]
fn a_server_killed_under_load_costs_its_own_requests_only() {
    let mut nginx = Nginx::new(plan(Topology::Bridge), Attach::Tc);
    let load = Load {
        vips: World::vips(),
        connections: 8,
        rate: Some(400.0),
        duration: Duration::from_secs(3),
        ..Load::default()
    };
    let run = load.start(Some(nginx.world.lab.client())).unwrap();
    let snapshots = run.snapshots();
    eventually("the load runs", || snapshots.has_changed().unwrap_or(true));
    drop(nginx.servers.remove(0));
    nginx.wait_for(BackendState::Down, 0..1);
    let report = run.finish().unwrap();
    // Turns: one request in three went to it, for as long as it took to notice.
    let total = report.answered() + report.failures();
    assert!(report.failures() * 3 <= total + 8, "{report:?}");
    let without = nginx.world.load(90);
    assert_eq!((without.answered(), without.failures()), (90, 0), "{without:?}");
    assert!(!without.per_backend.contains_key("b1"), "{without:?}");
    nginx.serve(0);
    nginx.wait_for(BackendState::Up, 0..1);
    let again = nginx.world.load(90);
    assert_eq!((again.failures(), again.per_backend["b1"]), (0, 30), "{again:?}");
}

/// A service with one backend: the connections of an iperf3 run belong together.
fn iperf_service(protocol: Protocol, backend: IpAddr) -> Service {
    let endpoint = Endpoint { address: backend, port: IPERF_PORT, protocol };
    let ports = PortRange::new(IPERF_PORT, IPERF_PORT).unwrap();
    Service {
        name: ServiceName::new(&format!("iperf-{protocol}")).unwrap(),
        listens: vec![Listen { address: IpAddr::V4(vip_v4(1)), ports, protocol }],
        policy: Policy::RoundRobin,
        backends: vec![BackendSpec { endpoint, weight: Weight::DEFAULT }],
        health: None,
        affinity: None,
        sources: Vec::new(),
    }
}

/// One run of iperf3 through the VIP; what its server says is part of the answer.
fn iperf(world: &World, arguments: &[&str]) -> serde_json::Value {
    let mut command = world.lab.client().command("iperf3");
    command.args(["-c", &vip_v4(1).to_string(), "-p", &IPERF_PORT.to_string(), "--json"]);
    command.args(["-t", "1", "--connect-timeout", "3000", "--get-server-output"]);
    let output = command.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn iperf3_loses_nothing_either_way() {
    for (plan, attach) in [(plan(Topology::Bridge), Attach::Tc), (remote(), Attach::Xdp)] {
        let backend = IpAddr::V4("198.18.10.2".parse().unwrap());
        let world = World::with(plan, attach, Policy::RoundRobin, |config| {
            let services = [Protocol::Tcp, Protocol::Udp];
            config.services.extend(services.map(|protocol| iperf_service(protocol, backend)));
        });
        let server = &world.lab.backends()[0];
        let mut command = server.netns.command("iperf3");
        command.args(["-s", "-p", &IPERF_PORT.to_string(), "--json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let _server = Peer(command.spawn().unwrap());
        let port = format!(":{IPERF_PORT}");
        eventually("iperf3 listens", || {
            let mut sockets = server.netns.command("ss");
            let output = sockets.args(["-Hltn"]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains(&port)
        });
        for direction in [&[][..], &["-R"]] {
            let tcp = iperf(&world, direction);
            let bytes = tcp["end"]["sum_received"]["bytes"].as_u64().unwrap();
            let counted = if direction.is_empty() {
                tcp["server_output_json"]["end"]["sum_received"]["bytes"].as_u64().unwrap()
            } else {
                bytes
            };
            assert!(bytes > 1 << 20 && bytes == counted, "{attach:?} {direction:?}: {tcp}");
            let udp = iperf(&world, &[&["-u", "-b", "20M", "-l", "1200"], direction].concat());
            let sum = &udp["end"]["sum"];
            let (lost, packets) = (&sum["lost_packets"], sum["packets"].as_u64().unwrap());
            assert!(*lost == 0 && packets > 1000, "{attach:?} {direction:?}: {sum}");
        }
    }
}
