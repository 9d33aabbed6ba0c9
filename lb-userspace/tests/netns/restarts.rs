//! What may happen to a daemon and its host while clients call. None of them may notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use lb_userspace::{
    demo::client::Load,
    lab::{CLIENT_LINK, CLIENT_V4, CLIENT_V6, Netns, Topology, UPLINK, vip_v4},
    model::{Attach, Policy},
};
use nix::{
    mount::{MntFlags, umount2},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use super::{
    crowd::{Call, Connection, Crowd},
    process::Process,
    site::Site,
    world::{World, eventually, plan},
};

/// Runs a command in a namespace; it must succeed.
fn run(netns: &Netns, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = netns.command(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Does something while clients call, over kept connections and fresh ones.
fn nobody_notices(process: &mut Process, happens: impl FnOnce(&mut Process)) {
    const CALLS: usize = 300;
    let crowd = Crowd::start(process.world.lab.client());
    crowd.wait_for(CALLS);
    happens(process);
    crowd.wait_for(CALLS);
    let calls = crowd.finish();
    let failed: Vec<&Call> = calls.iter().filter(|call| call.answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), calls.len());
}

/// Writes another file and waits until it is in force.
fn reload(process: &Process, weight: u16) {
    let before = process.status()["generation"].as_u64();
    process.write_config(weight);
    eventually("the file is in force", || process.status()["generation"].as_u64() > before);
    let status = process.status();
    assert!(status["last_reload"]["error"].is_null(), "{status}");
    assert_eq!(status["problems"], serde_json::json!([]), "{status}");
}

/// A thousand services, all of them others in every round.
fn thousand_services(round: u16) -> String {
    let mut text = String::new();
    for n in 0..1000 {
        let (port, weight) = (10_000 + n, 1 + (n + round) % 7);
        writeln!(
            text,
            "  - {{ name: s{n}, listen: [\"198.18.1.2:{port}\"], policy: weighted-round-robin, \
             backends: [{{ address: \"198.18.10.2:8080\", weight: {weight} }}, \
             {{ address: \"198.18.10.{}:8080\" }}] }}",
            3 + round % 2
        )
        .unwrap();
    }
    text
}

#[test]
fn a_thousand_services_change_at_a_time() {
    nobody_notices(&mut Process::new(), |process| {
        for round in 0..4 {
            process.more_services = thousand_services(round);
            reload(process, 1 + round);
            let url = format!("http://198.18.1.2:{}/", 10_999);
            assert!(process.world.curl(&url).status.success(), "{round}");
        }
        process.more_services = String::new();
        reload(process, 1);
        assert_eq!(process.status()["services"], 1);
    });
}

#[test]
fn an_uplink_goes_down_and_comes_back() {
    let mut process = Process::new();
    run(process.world.lab.lb(), &format!("sysctl -qw net.ipv6.conf.{UPLINK}.keep_addr_on_down=1"));
    nobody_notices(&mut process, |process| {
        let lb = process.world.lab.lb();
        for _ in 0..2 {
            run(lb, &format!("ip link set {UPLINK} down"));
            std::thread::sleep(Duration::from_millis(300));
            run(lb, &format!("ip link set {UPLINK} up"));
            std::thread::sleep(Duration::from_millis(500));
        }
    });
}

/// A second link between client and balancer.
fn second_uplink(process: &Process) {
    let (client, lb) = (process.world.lab.client(), process.world.lab.lb());
    run(lb, &format!("ip link add up1 type veth peer name up-d netns {}", client.name()));
    for (netns, link, host) in [(lb, "up1", 1), (client, "up-d", 2)] {
        run(netns, &format!("ip addr add 198.18.2.{host}/24 dev {link}"));
        run(netns, &format!("ip addr add fd00:18:2::{host}/64 dev {link} nodad"));
        run(netns, &format!("ip link set {link} up"));
    }
}

#[test]
fn clients_come_in_by_another_uplink() {
    let mut process = Process::new();
    second_uplink(&process);
    nobody_notices(&mut process, |process| {
        process.interfaces = "[up0, up1]".to_owned();
        reload(process, 2);
        let (client, lb) = (process.world.lab.client(), process.world.lab.lb());
        // The addresses of the clients stay what they are.
        run(client, &format!("ip route replace default via 198.18.2.1 dev up-d src {CLIENT_V4}"));
        run(
            client,
            &format!("ip -6 route replace default via fd00:18:2::1 dev up-d src {CLIENT_V6}"),
        );
        std::thread::sleep(Duration::from_millis(300));
        process.interfaces = "[up1]".to_owned();
        reload(process, 3);
        let attached = process.status()["attach"].to_string();
        assert!(attached.contains("up1") && !attached.contains(UPLINK), "{attached}");
        // What is sent back the old way from here on is lost.
        run(lb, &format!("ip link set {UPLINK} down"));
    });
}

/// Whoever waits for an answer without a word is not found until it speaks: nothing tells the balancer
/// that what it sends arrives nowhere. So no call is under way here when the address changes.
#[test]
fn who_is_in_front_of_the_clients_gets_another_mac_address() {
    let process = Process::new();
    let client = process.world.lab.client();
    let open = |first: u16| -> Vec<Connection> {
        let all = World::vips().into_iter().cycle().zip(first..first + 12);
        let open = || all.map(|(vip, port)| Connection::open(vip, port).unwrap()).collect();
        client.in_netns(open).unwrap()
    };
    let mut connections = open(40_000);
    let ask_all = |connections: &mut Vec<Connection>| -> Vec<String> {
        connections.iter_mut().map(|connection| connection.ask(true).unwrap()).collect()
    };
    let before = ask_all(&mut connections);
    for last in 1..=5 {
        run(client, &format!("ip link set {CLIENT_LINK} address 02:00:00:00:99:{last:02}"));
        assert_eq!(ask_all(&mut connections), before, "{last}");
        let mut fresh = open(41_000 + last * 100);
        ask_all(&mut fresh);
    }
}

/// Messages that the kernel could not give to the netlink sockets of a process.
fn dropped(pid: u32) -> u64 {
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/netlink")).unwrap();
    // Columns: sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode.
    let drops = sockets.lines().skip(1).map(|line| line.split_whitespace().nth(8));
    drops.map(|drops| drops.unwrap().parse::<u64>().unwrap()).sum()
}

/// Feeds lines to `ip -batch`.
fn ip_batch(netns: &Netns, lines: &str) {
    let mut command = netns.command("ip");
    let mut ip = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
}

/// The link by which a backend is reached.
fn link_to(process: &Process, backend: &str) -> String {
    let output = process.weir(&["backends", "--json"]).stdout;
    let backends: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let is_it = |one: &&serde_json::Value| one["endpoint"].as_str().unwrap().starts_with(backend);
    backends.as_array().unwrap().iter().find(is_it).unwrap()["interface"].to_string()
}

#[test]
fn what_the_kernel_could_not_tell_is_asked_for() {
    let mut process = Process::new();
    let before = ["198.18.10.2:", "198.18.10.4:"].map(|backend| link_to(&process, backend));
    assert_ne!(before[0], before[1]);
    let pid = process.child.as_ref().unwrap().id();
    let daemon = Pid::from_raw(pid.cast_signed());
    nobody_notices(&mut process, |process| {
        kill(daemon, Signal::SIGSTOP).unwrap();
        let one = |mac| format!("neigh replace 198.18.10.99 lladdr 02:00:00:00:77:{mac} dev br0\n");
        let neighbours = (one("01") + &one("02")).repeat(2000);
        ip_batch(process.world.lab.lb(), &neighbours);
        assert!(dropped(pid) > 0, "the socket's buffer held all of it");
    });
    // The last change is among what was lost: the third backend is where the first one is.
    let mac = process.world.lab.backends()[0].mac;
    let last = format!("neigh replace 198.18.10.4 lladdr {mac} dev br0\n");
    ip_batch(process.world.lab.lb(), &last);
    kill(daemon, Signal::SIGCONT).unwrap();
    eventually("the daemon looks again", || link_to(&process, "198.18.10.4:") == before[0]);
}

#[test]
fn the_file_system_of_the_pins_goes_away() {
    let mut process = Process::new();
    nobody_notices(&mut process, |process| {
        umount2(&process.path("bpf"), MntFlags::MNT_DETACH).unwrap();
        let told = || process.status()["problems"].to_string().contains("balancing ends with it");
        eventually("it is told", told);
        process.write_config(5);
        eventually("and reloads go on", || {
            process.status()["last_reload"]["age_s"].as_u64().is_some_and(|age| age < 5)
        });
    });
    assert!(process.signal(Signal::SIGTERM).success(), "{}", log(&process));
    // Nothing has stayed on the hooks.
    let url = format!("http://{}/", vip_v4(1));
    assert!(!process.world.curl(&url).status.success());
}

fn log(process: &Process) -> String {
    fs::read_to_string(process.path("log")).unwrap()
}

/// Links and the programs that they hold on hooks, as the daemon's descriptors show them.
fn programs_of_links(process: &Process) -> BTreeMap<u64, u64> {
    let pid = process.child.as_ref().unwrap().id();
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = infos.flatten().filter_map(|info| fs::read_to_string(info.path()).ok());
    let number = |text: &str, field: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
    };
    texts
        .filter_map(|text| Some((number(&text, "link_id:")?, number(&text, "prog_id:")?)))
        .collect()
}

#[test]
fn every_program_is_replaced_on_its_hook() {
    let mut process = Process::new();
    let before = programs_of_links(&process);
    assert!(before.len() > 3, "uplink and veths: {before:?}");
    nobody_notices(&mut process, |process| {
        process.signal(Signal::SIGKILL);
        process.start();
    });
    let after = programs_of_links(&process);
    assert!(before.keys().eq(after.keys()), "{before:?} {after:?}");
    let programs = |links: &BTreeMap<u64, u64>| links.values().copied().collect::<BTreeSet<u64>>();
    assert!(programs(&before).is_disjoint(&programs(&after)), "{before:?} {after:?}");
}

/// Connections that do nothing while things happen.
const IDLE: u16 = 10_000;
const IDLE_FIRST: u16 = 20_000;
const RATE: f64 = 2_000.0;

fn open_idle(process: &Process) -> Vec<Connection> {
    let vips = World::vips();
    let connect = || -> Vec<Connection> {
        let ports = IDLE_FIRST..IDLE_FIRST + IDLE / 2;
        let all = ports.flat_map(|port| vips.iter().map(move |vip| (*vip, port)));
        all.map(|(vip, port)| Connection::open(vip, port).unwrap()).collect()
    };
    process.world.lab.client().in_netns(connect).unwrap()
}

#[test]
fn two_thousand_requests_a_second_and_ten_thousand_idle_connections_live_through_all_of_it() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // The built-in servers end what is idle for half a minute.
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |_| {});
    let Site { servers: _servers, world, files: _files } = Site::take_over(world);
    let mut process = Process::instead(world, "off");
    let mut idle = open_idle(&process);
    let load = Load {
        vips: World::vips(),
        connections: 64,
        rate: Some(RATE),
        keep_alive: true,
        duration: Duration::from_secs(300),
        timeout: Duration::from_secs(10),
        ..Load::default()
    };
    let run = load.start(Some(process.world.lab.client())).unwrap();
    let start = Instant::now();
    let at = |what: &str| println!("{:6.2} s: {what}", start.elapsed().as_secs_f64());
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(500));
        at("kill -9");
        process.signal(Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(300));
        at("another one starts, and replaces the programs");
        process.start();
        at("it is up: a thousand services change");
        process.more_services = thousand_services(round);
        reload(&process, 1 + round);
        at("they have");
    }
    let due = start.elapsed().as_secs_f64() * RATE;
    // What is under way counts neither way.
    let report = run.stop().unwrap();
    let (answered, failed) = (report.answered(), report.failures());
    let broken = idle.iter_mut().filter_map(|connection| connection.ask(true).err()).count();
    println!("{answered} requests of {due:.0} answered, {failed} failed");
    println!("{IDLE} idle connections, {broken} broken");
    assert_eq!((failed, broken), (0, 0), "{report:?}");
    assert!(answered as f64 > 0.8 * due, "{report:?}");
}
