//! Clients that are processes of the balancer's own host: in its network namespace, and in a
//! cgroup that the test makes. Nothing is ever attached to the root of the hierarchy, where it
//! would meet all processes of the machine.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, FlowsReport, ServiceReport, StatusReport},
    },
    dataplane::sockets::cgroup_root,
    lab::{Netns, Topology, Worker, vip_v4, vip_v6},
    model::{Attach, Config, HostClients, Listen, Policy, PortRange, Protocol, ServiceName},
};
use nix::sys::signal::Signal;

use super::{
    process::Process,
    world::{PORT, World, eventually, plan},
};

/// The port of the echo servers, and of their service.
const ECHO: u16 = 5353;
/// Set in the process that is a client.
const CLIENT: &str = "WEIR_TEST_CLIENT";

/// A child of the root of the cgroup2 hierarchy.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = cgroup_root().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A command whose process lives in this cgroup and in a network namespace.
    fn command(&self, netns: &Netns, program: &str) -> Command {
        let mut command = netns.command(program);
        let members = File::options().write(true).open(self.0.join("cgroup.procs")).unwrap();
        // SAFETY: between fork and exec the closure makes one system call on a descriptor that it
        // keeps open; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || (&members).write_all(b"0")) };
        command
    }

    /// How many programs are on the socket hooks of this cgroup.
    fn programs(&self) -> u32 {
        // `enum bpf_attach_type`: connect, sendmsg, recvmsg, getpeername; IPv4, IPv6.
        [10, 11, 14, 15, 19, 20, 29, 30].map(|hook| query(&self.0, hook)).iter().sum()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that were waited for may still be on their way out of it.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} is still there", self.0.display());
    }
}

/// Asks the kernel how many programs are on a hook of a cgroup (`BPF_PROG_QUERY`).
fn query(cgroup: &Path, hook: u32) -> u32 {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        target: u32,
        hook: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        rest: [u32; 9],
    }
    const BPF_PROG_QUERY: libc::c_long = 16;
    let directory = File::open(cgroup).unwrap();
    let target = directory.as_raw_fd().cast_unsigned();
    let mut attributes = Attributes { target, hook, ..Attributes::default() };
    let size = size_of::<Attributes>();
    // SAFETY: the kernel reads and writes `size` bytes of `attributes`, and no ids.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attributes, size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    attributes.count
}

/// A process that dials what it is told to.
struct Client {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(mut command: Command) -> Self {
        command.args(["--exact", "netns::sockets::the_client_that_other_tests_start"]);
        command.arg("--nocapture").env(CLIENT, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, answers: BufReader::new(answers).lines() }
    }

    fn of(cgroup: &Cgroup, netns: &Netns) -> Self {
        Self::start(cgroup.command(netns, std::env::current_exe().unwrap().to_str().unwrap()))
    }

    /// Gives an order and waits for the answer.
    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        loop {
            let line = self.answers.next().unwrap().unwrap();
            if let Some((_, answer)) = line.split_once("answer: ") {
                return answer.to_owned();
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other half of [`Client`]; by itself it does nothing.
#[test]
fn the_client_that_other_tests_start() {
    if std::env::var_os(CLIENT).is_none() {
        return;
    }
    let sockets = ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).unwrap());
    for order in io::stdin().lines() {
        let order = order.unwrap();
        let (verb, to) = order.split_once(' ').unwrap();
        let (to, from) = to.split_once(" from ").unwrap_or((to, ""));
        let to = to.parse().unwrap();
        let result = match verb {
            "get" => get(to),
            "dial" => dial(to, from),
            "connected" => connected(to),
            // A datagram from a socket that lasts, of the address's family or of IPv6.
            "datagram" => ask(&sockets[usize::from(to.is_ipv6())], to),
            other => panic!("{other}"),
        };
        let answer = result.unwrap_or_else(|error| format!("{:?}", error.kind()));
        // As a line of its own, whatever the harness has written.
        println!("\nanswer: {answer}");
    }
}

/// The peer of a connection, and the server behind it.
fn get(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let server = text.lines().find_map(|line| line.strip_prefix("X-Backend: "));
    Ok(format!("{} {}", stream.peer_addr()?, server.unwrap_or("nobody")))
}

/// The peer of a connection from an address.
fn dial(to: SocketAddr, from: &str) -> io::Result<String> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket,
    };
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None)?;
    let from: SocketAddr = from.parse().unwrap();
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(socket).peer_addr()?.to_string())
}

/// The peer of a connected socket for datagrams, and who answers it.
fn connected(to: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.send(b"question")?;
    let answer = receive(&socket)?;
    Ok(format!("{} {answer}", socket.peer_addr()?))
}

/// Who answers a datagram.
fn ask(socket: &UdpSocket, to: SocketAddr) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.send_to(b"question", to)?;
    receive(socket)
}

fn receive(socket: &UdpSocket) -> io::Result<String> {
    let mut answer = [0; 64];
    let (length, from) = socket.recv_from(&mut answer)?;
    Ok(format!("{from} {}", String::from_utf8_lossy(&answer[..length])))
}

/// A balancer with services `web` (TCP) and `echo` (UDP), whose processes are balanced.
struct Host {
    world: World,
    cgroup: Cgroup,
    _echos: Vec<Worker<io::Result<()>>>,
}

impl Host {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let cgroup = Cgroup::new();
        let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
            config.host_clients = HostClients::Cgroup(cgroup.0.clone());
            let mut echo = config.services[0].clone();
            let port = PortRange::new(ECHO, ECHO).unwrap();
            let udp = |listen: &mut Listen| {
                (listen.protocol, listen.ports) = (Protocol::Udp, port);
            };
            echo.name = ServiceName::new("echo").unwrap();
            echo.listens.iter_mut().for_each(udp);
            for backend in &mut echo.backends {
                (backend.endpoint.protocol, backend.endpoint.port) = (Protocol::Udp, ECHO + 1);
            }
            config.services.push(echo);
            change(config);
        });
        let mut echos = Vec::new();
        for (index, backend) in world.lab.backends().iter().enumerate() {
            for address in [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)] {
                let (name, at) = (format!("b{}", index + 1), SocketAddr::new(address, ECHO + 1));
                let bind = || UdpSocket::bind(at).unwrap();
                let socket = backend.netns.in_netns(bind).unwrap();
                socket.set_nonblocking(true).unwrap();
                echos.push(Worker::spawn(None, "echo", move || echo(socket, name)).unwrap());
            }
        }
        Self { world, cgroup, _echos: echos }
    }

    /// A client in the host's namespace and the cgroup.
    fn client(&self) -> Client {
        Client::of(&self.cgroup, self.world.lab.lb())
    }

    fn service(&self, name: &str) -> ServiceReport {
        let services: Vec<ServiceReport> = self.world.ask(&Request::Services);
        services.into_iter().find(|service| service.name == name).unwrap()
    }
}

/// Answers every datagram with its name.
async fn echo(socket: UdpSocket, name: String) -> io::Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    loop {
        let (_, from) = socket.recv_from(&mut [0; 64]).await?;
        socket.send_to(name.as_bytes(), from).await?;
    }
}

fn vips(port: u16) -> [SocketAddr; 3] {
    let mapped = IpAddr::V6(vip_v4(1).to_ipv6_mapped());
    [IpAddr::V4(vip_v4(1)), IpAddr::V6(vip_v6(1)), mapped].map(|vip| SocketAddr::new(vip, port))
}

/// Splits an answer that has to begin with the VIP.
fn server<'a>(answer: &'a str, vip: &SocketAddr) -> &'a str {
    answer.strip_prefix(&format!("{vip} ")).unwrap_or_else(|| panic!("{vip}: {answer}"))
}

#[test]
fn connections_are_answered_by_all_backends_from_the_vip() {
    let host = Host::new(|_| {});
    let mut client = host.client();
    for vip in vips(PORT) {
        let servers: BTreeSet<_> =
            (0..6).map(|_| server(&client.order(&format!("get {vip}")), &vip).to_owned()).collect();
        assert_eq!(servers.len(), 3, "{vip}: {servers:?}");
    }
    let web = host.service("web");
    assert_eq!((web.flows_total, web.packets_in), (18, 0), "translated at the socket");
    let backends: Vec<BackendReport> = host.world.ask(&Request::Backends);
    assert!(backends.iter().all(|backend| backend.flows == 0), "{backends:?}");
    let status: StatusReport = host.world.ask(&Request::Status);
    assert_eq!(status.host_clients.cgroup.as_deref(), Some(host.cgroup.0.as_path()));
    assert_eq!(status.host_clients.missing, Vec::<String>::new());
}

#[test]
fn curl_on_the_balancers_own_host_reaches_the_backends() {
    let host = Host::new(|_| {});
    for url in [format!("http://{}/", vip_v4(1)), format!("http://[{}]/", vip_v6(1))] {
        let mut curl = host.cgroup.command(host.world.lab.lb(), "curl");
        curl.args(["-sS", "-g", "-i", "--max-time", "3", "-w", "%{remote_ip}", &url]);
        let output = curl.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("HTTP/1.1 200"), "{url}: {text} {errors}");
        let vip = url.trim_start_matches("http://").trim_matches(['[', ']', '/']);
        assert!(text.ends_with(vip), "{url}: {text}");
    }
}

#[test]
fn datagrams_are_answered_from_the_vip() {
    let host = Host::new(|_| {});
    let (mut client, mut other) = (host.client(), host.client());
    for vip in vips(ECHO) {
        let order = format!("datagram {vip}");
        let first = server(&client.order(&order), &vip).to_owned();
        // A socket keeps its backend; another one has the next.
        for _ in 0..3 {
            assert_eq!(server(&client.order(&order), &vip), first);
        }
        assert_ne!(server(&other.order(&order), &vip), first);
        let connected = client.order(&format!("connected {vip}"));
        // The peer, then where the answer came from, then who it was.
        assert!(server(server(&connected, &vip), &vip).starts_with('b'), "{connected}");
    }
    assert_eq!(host.service("echo").flows_total, 9);
}

#[test]
fn a_drained_backend_gets_nothing_new() {
    let host = Host::new(|_| {});
    let mut client = host.client();
    let [vip, ..] = vips(ECHO);
    let order = format!("datagram {vip}");
    let kept = server(&client.order(&order), &vip).to_owned();
    let index: usize = kept[1..].parse().unwrap();
    let address = IpAddr::V4(host.world.lab.backends()[index - 1].v4);
    let drain = |endpoint: String| {
        host.world.ask::<serde_json::Value>(&Request::Drain { backend: endpoint.parse().unwrap() })
    };
    drain(SocketAddr::new(address, ECHO + 1).to_string());
    drain(host.world.backend(index - 1));
    for _ in 0..4 {
        assert_eq!(server(&client.order(&order), &vip), kept, "datagrams stay");
        let [vip, ..] = vips(PORT);
        assert_ne!(server(&client.order(&format!("get {vip}")), &vip), kept);
        let mut fresh = host.client();
        assert_ne!(server(&fresh.order(&order), &vips(ECHO)[0]), kept);
    }
    for index in 0..3 {
        drain(host.world.backend(index));
    }
    assert_eq!(client.order(&format!("get {}", vips(PORT)[0])), "ConnectionRefused");
}

#[test]
fn an_allow_list_wants_the_address_that_a_socket_is_bound_to() {
    let host = Host::new(|config| {
        let bridges = ["198.18.10.0/24", "fd00:18:10::/64"];
        config.services[0].sources = bridges.map(|net| net.parse().unwrap()).to_vec();
    });
    let mut client = host.client();
    let rows = [
        (vips(PORT)[0], "198.18.10.1:0", true),
        (vips(PORT)[0], "198.18.0.1:0", false),
        (vips(PORT)[0], "0.0.0.0:0", false),
        (vips(PORT)[1], "[fd00:18:10::1]:0", true),
        (vips(PORT)[1], "[fd00:18::1]:0", false),
        (vips(PORT)[1], "[::]:0", false),
    ];
    for (vip, from, allowed) in rows {
        let expected = if allowed { vip.to_string() } else { "PermissionDenied".to_owned() };
        assert_eq!(client.order(&format!("dial {vip} from {from}")), expected, "{from}");
    }
}

#[test]
fn other_namespaces_and_other_cgroups_are_left_alone() {
    let host = Host::new(|_| {});
    let [vip, ..] = vips(PORT);
    let order = format!("get {vip}");
    let flows = || host.world.ask::<FlowsReport>(&Request::Flows { limit: 1, service: None }).total;
    // In the cgroup, but in the client's namespace: its packets are balanced on the wire.
    let mut elsewhere = Client::of(&host.cgroup, host.world.lab.client());
    server(&elsewhere.order(&order), &vip);
    assert_eq!(flows(), 1);
    assert!(host.service("web").packets_in > 0);
    // In the host's namespace, but not in the cgroup: nobody has the VIP.
    let test = std::env::current_exe().unwrap();
    let mut outside = Client::start(host.world.lab.lb().command(test.to_str().unwrap()));
    let answer = outside.order(&order);
    assert!(!answer.contains(' '), "{answer}");
    // In both, to what is no service.
    let mut client = host.client();
    let backend: SocketAddr = host.world.backend(0).parse().unwrap();
    assert_eq!(server(&client.order(&format!("get {backend}")), &backend), "b1");
    assert_eq!(host.service("web").flows_total, 1);
}

#[test]
fn a_daemon_that_ends_leaves_no_socket_hook() {
    let cgroup = Cgroup::new();
    let mut process = Process::with(cgroup.0.to_str().unwrap());
    assert_eq!(cgroup.programs(), 8);
    let status = String::from_utf8(process.weir(&["status"]).stdout).unwrap();
    assert!(status.contains(&format!("host clients   {}\n", cgroup.0.display())), "{status}");
    assert!(process.signal(Signal::SIGTERM).success());
    assert_eq!((cgroup.programs(), process.pins()), (0, 0));
}

#[test]
fn sudden_death_leaves_processes_of_the_host_balanced() {
    let cgroup = Cgroup::new();
    let mut process = Process::with(cgroup.0.to_str().unwrap());
    let mut client = Client::of(&cgroup, process.world.lab.lb());
    process.signal(Signal::SIGKILL);
    let [vip, ..] = vips(PORT);
    let order = format!("get {vip}");
    assert!(server(&client.order(&order), &vip).starts_with('b'));
    process.start();
    assert!(server(&client.order(&order), &vip).starts_with('b'));
    eventually("the dead daemon's hooks are gone", || cgroup.programs() == 8);
    assert!(server(&client.order(&order), &vip).starts_with('b'));
    process.signal(Signal::SIGKILL);
    let detached = process.detach();
    assert!(detached.starts_with("detached "), "{detached}");
    assert_eq!((cgroup.programs(), process.pins()), (0, 0));
    let answer = client.order(&order);
    assert!(!answer.contains(' '), "{answer}");
}

#[test]
fn a_cgroup_that_is_none_is_a_mistake_and_another_one_is_moved_to() {
    let (first, second) = (Cgroup::new(), Cgroup::new());
    let mut process = Process::with(first.0.to_str().unwrap());
    let changed = |process: &mut Process, to: &str| {
        to.clone_into(&mut process.host_clients);
        process.write_config(1);
    };
    changed(&mut process, "/proc");
    eventually("the mistake is told", || {
        let status = process.status();
        let error = status["last_reload"]["error"].as_str();
        error.is_some_and(|error| error.contains("/proc is not a directory of a cgroup2"))
    });
    assert_eq!(first.programs(), 8);
    changed(&mut process, second.0.to_str().unwrap());
    eventually("the hooks are on the other one", || {
        (first.programs(), second.programs()) == (0, 8)
    });
    changed(&mut process, "off");
    eventually("the hooks are off", || second.programs() == 0);
    let status = process.status();
    assert_eq!(status["host_clients"]["missing"][0], "host-clients is off");
}
