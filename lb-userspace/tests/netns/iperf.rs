//! iperf3 through a VIP: what one end sent is what the other end received.

use std::{fs, net::IpAddr, process::Stdio};

use lb_userspace::{
    lab::{Netns, Topology, vip_v4, vip_v6},
    model::{
        Attach, BackendSpec, Endpoint, FlowLimits, Forward, Listen, Policy, PortRange, Protocol,
        Service, ServiceName, Weight,
    },
};
use serde_json::Value;

use super::{
    site::{Guarded, listeners},
    world::{World, eventually, plan},
};

const PORT: u16 = 5201;

fn vips() -> [IpAddr; 2] {
    [IpAddr::V4(vip_v4(3)), IpAddr::V6(vip_v6(3))]
}

/// One backend, because iperf3 opens a connection for its control beside those it measures.
fn world(attach: Attach, topology: Topology) -> World {
    World::with(plan(topology), attach, Policy::Maglev, |config| {
        let mut backend = config.services[0].backends.clone();
        backend.truncate(2);
        let service = |protocol: Protocol| Service {
            name: ServiceName::new(&format!("iperf-{protocol}")).unwrap(),
            listens: vips()
                .map(|address| {
                    let ports = PortRange::new(PORT, PORT).unwrap();
                    Listen { address, ports, protocol }
                })
                .to_vec(),
            policy: Policy::Maglev,
            forward: Forward::Nat,
            backends: backend
                .iter()
                .map(|one| {
                    let endpoint = Endpoint { port: PORT, protocol, ..one.endpoint };
                    BackendSpec { endpoint, weight: Weight::DEFAULT, cgroup: None }
                })
                .collect(),
            health: None,
            report: None,
            affinity: None,
            sources: Vec::new(),
            scale: None,
            limits: FlowLimits::default(),
        };
        config.services.extend([Protocol::Tcp, Protocol::Udp].map(service));
    })
}

/// What the client and the server say of one run.
fn run(world: &World, vip: IpAddr, arguments: &[&str]) -> (Value, Value) {
    let backend = &world.lab.backends()[0].netns;
    let port = PORT.to_string();
    let mut server = backend.command("iperf3");
    server.args(["--server", "--one-off", "--json", "--port", &port]);
    server.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Guarded(server.spawn().unwrap());
    eventually("iperf3 listens", || listeners(backend, PORT) == 1);
    let mut client = world.lab.client().command("timeout");
    client.args(["30", "iperf3", "--client", &vip.to_string(), "--port", &port, "--json"]);
    let client = client.args(arguments).stdin(Stdio::null()).output().unwrap();
    let what = String::from_utf8_lossy(&client.stdout).into_owned();
    assert!(client.status.success(), "{vip} {arguments:?}: {what}");
    // It answers one client and ends.
    let mut answer = String::new();
    let mut output = server.0.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut output, &mut answer).unwrap();
    assert!(server.0.wait().unwrap().success(), "{vip} {arguments:?}: {answer}");
    (serde_json::from_str(&what).unwrap(), serde_json::from_str(&answer).unwrap())
}

fn number(report: &Value, path: &str) -> u64 {
    let found = report.pointer(path).unwrap_or_else(|| panic!("no {path} in {report}"));
    found.as_u64().unwrap_or_else(|| panic!("{path} is {found}"))
}

const HOOKS: [(Attach, Topology); 3] = [
    (Attach::Tc, Topology::Bridge),
    (Attach::Xdp, Topology::Remote),
    (Attach::XdpGeneric, Topology::Remote),
];

#[test]
fn streams_bring_what_was_sent() {
    const BYTES: u64 = 50_000_000;
    const WINDOW: u64 = 131_072;
    const STREAMS: u64 = 2;
    let (bytes, window) = (BYTES.to_string(), WINDOW.to_string());
    let common = ["--bytes", &bytes, "--window", &window, "--parallel", "2"];
    for (attach, topology) in HOOKS {
        let world = world(attach, topology);
        for (vip, reverse) in vips().into_iter().flat_map(|vip| [(vip, false), (vip, true)]) {
            let case = format!("{attach:?} {topology:?} {vip} reverse {reverse}");
            let direction: &[&str] = if reverse { &["--reverse"] } else { &[] };
            let (client, server) = run(&world, vip, &[common.as_slice(), direction].concat());
            let (from, to) = if reverse { (server, client) } else { (client, server) };
            let sent = number(&from, "/end/sum_sent/bytes");
            let received = number(&to, "/end/sum_received/bytes");
            assert!(sent >= BYTES, "{case}: {sent}");
            // The reader leaves unread what the sockets hold at the end of the run. The kernel
            // gives a socket twice the window that it is asked for.
            let held = sent.checked_sub(received);
            let held = held.unwrap_or_else(|| panic!("{case}: {received} of {sent}"));
            assert!(held <= STREAMS * 2 * 2 * WINDOW, "{case}: {received} of {sent}");
        }
    }
}

/// Datagrams of a family that a namespace dropped because their socket's buffer was full.
fn overflows(netns: &Netns, v6: bool) -> u64 {
    let read =
        || ["snmp", "snmp6"].map(|it| fs::read_to_string(format!("/proc/thread-self/net/{it}")));
    let [v4_table, v6_table] = netns.in_netns(read).unwrap().map(Result::unwrap);
    if v6 {
        let line = v6_table.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors"));
        return line.unwrap().trim().parse().unwrap();
    }
    // A line of names, then a line of values.
    let mut lines = v4_table.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut columns = names.split(' ').zip(values.split(' '));
    columns.find(|(name, _)| *name == "RcvbufErrors").unwrap().1.parse().unwrap()
}

#[test]
fn datagrams_are_lost_by_nobody_but_a_slow_reader() {
    const LENGTH: u64 = 1200;
    let common = ["--udp", "--bitrate", "10M", "--length", "1200", "--time", "1"];
    for (attach, topology) in HOOKS {
        let world = world(attach, topology);
        for (vip, reverse) in vips().into_iter().flat_map(|vip| [(vip, false), (vip, true)]) {
            let case = format!("{attach:?} {topology:?} {vip} reverse {reverse}");
            let server = &world.lab.backends()[0].netns;
            let reader = if reverse { world.lab.client() } else { server };
            let before = overflows(reader, vip.is_ipv6());
            let direction: &[&str] = if reverse { &["--reverse"] } else { &[] };
            let (client, server) = run(&world, vip, &[common.as_slice(), direction].concat());
            let (from, to) = if reverse { (server, client) } else { (client, server) };
            let sent = number(&from, "/end/sum_sent/packets");
            let seen = number(&to, "/end/sum_received/packets");
            let lost = number(&to, "/end/sum_received/lost_packets");
            // The reader numbers what arrives. Gaps are what its own socket had no room for.
            assert_eq!(lost, overflows(reader, vip.is_ipv6()) - before, "{case}");
            let bytes = number(&to, "/end/sum_received/bytes");
            assert_eq!(bytes, (seen - lost) * LENGTH, "{case}");
            // The end of a run is told over TCP, ahead of the last datagrams or after them.
            assert!(seen <= sent && sent - seen <= sent / 20, "{case}: {seen} of {sent}");
            assert!(sent > 1000, "{case}: {sent}");
        }
    }
}
