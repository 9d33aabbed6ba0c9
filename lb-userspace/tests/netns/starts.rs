//! Starts that must fail, and what they leave: the host as it was, and one message that says why.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use lb_userspace::{
    admin::{Request, report::StatusReport},
    daemon::{self, background::Background},
    dataplane::{Dataplane, Hook, LoadOptions, pins::Pins},
    lab::{CLIENT_LINK, CLIENT_V4, DOWNLINK, LB_V4, LabPlan, Topology, UPLINK, vip_v4},
    model::{Attach, Limits, Policy},
};
use nix::{net::if_::if_nametoindex, sched::CloneFlags, sys::signal::Signal};

use super::{
    process::Process,
    world::{World, eventually, plan},
};

/// Everything of the balancer's links that a daemon could change, and what is pinned.
fn host(world: &World, bpffs: Option<&Path>) -> String {
    let commands: [&[&str]; 6] = [
        // Programs are named here too.
        &["ip", "-o", "link"],
        &["ip", "-o", "addr"],
        &["ip", "-4", "route", "show", "table", "all"],
        &["tc", "qdisc"],
        &["ethtool", "-k", UPLINK],
        &["sysctl", "net.ipv4.conf.up0", "net.ipv4.ip_forward"],
    ];
    let mut text = String::new();
    for command in commands {
        let output = world.lab.lb().command(command[0]).args(&command[1..]).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        text.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    let pins = bpffs.into_iter().flat_map(|path| fs::read_dir(path).unwrap());
    text.extend(pins.map(|entry| format!("{}\n", entry.unwrap().path().display())));
    text
}

/// A laboratory without a daemon, whose links to client and backends both suit XDP.
fn idle() -> World {
    let plan = LabPlan { gro: true, ..plan(Topology::Remote) };
    let mut world = World::with(plan, Attach::Tc, Policy::RoundRobin, |_| {});
    world.daemon.take().unwrap().finish().unwrap();
    world
}

/// A program that is not the daemon's on a hook, which lets everything pass.
fn stranger(world: &World, link: &str, hook: Hook) -> Dataplane {
    let attach = || {
        let limits = Limits { conns: 64, embryos: 64, ..Limits::default() };
        let options = LoadOptions { limits, bpffs: None, trace: false };
        let mut stranger = Dataplane::load(&options).unwrap();
        stranger.attach(link, if_nametoindex(link).unwrap(), hook).unwrap();
        stranger
    };
    world.lab.lb().in_netns(attach).unwrap()
}

#[test]
fn a_taken_hook_on_any_link_is_named_and_the_host_stays_as_it_was() {
    let mut world = idle();
    for link in [UPLINK, DOWNLINK] {
        for (strange, ours, named) in [
            (Hook::Xdp, Attach::Xdp, "xdp"),
            (Hook::XdpGeneric, Attach::Xdp, "xdp"),
            (Hook::Xdp, Attach::XdpGeneric, "xdp-generic"),
            (Hook::XdpGeneric, Attach::XdpGeneric, "xdp-generic"),
        ] {
            let stranger = stranger(&world, link, strange);
            let before = host(&world, None);
            world.config.attach = ours;
            let options = daemon::Options { config: world.config.clone(), file: None, bpffs: None };
            let error = Background::start(world.lab.lb(), options).unwrap_err();
            let expected = format!("{link}: another program is on the {named} hook");
            assert!(error.to_string().starts_with(&expected), "{strange:?}: {error:#}");
            assert_eq!(host(&world, None), before, "{link} {strange:?} {ours:?}");
            assert!(!world.config.admin.socket.exists());
            drop(stranger);
        }
    }
}

#[test]
fn auto_takes_tc_everywhere_when_xdp_is_taken_on_any_link() {
    let mut world = idle();
    for link in [UPLINK, DOWNLINK] {
        for strange in [Hook::Xdp, Hook::XdpGeneric] {
            let stranger = stranger(&world, link, strange);
            let before = host(&world, None);
            world.config.attach = Attach::Auto;
            world.start();
            let status: StatusReport = world.ask(&Request::Status);
            let hooks: Vec<_> =
                status.attach.iter().map(|at| (at.interface.as_str(), at.hook.as_str())).collect();
            assert_eq!(hooks, [(UPLINK, "tc"), (DOWNLINK, "tc")], "{link} {strange:?}");
            let report = world.load(90);
            assert_eq!((report.answered(), report.failures()), (90, 0), "{link}: {report:?}");
            world.daemon.take().unwrap().finish().unwrap();
            assert_eq!(host(&world, None), before, "{link} {strange:?}");
            drop(stranger);
        }
    }
}

#[test]
fn without_root_the_missing_capabilities_are_named_before_anything_else() {
    let mut process = Process::new();
    process.signal(Signal::SIGTERM);
    // Somebody who is not root must be able to read what root's test made.
    let open = || fs::Permissions::from_mode(0o755);
    fs::set_permissions(process.path(""), open()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_weir"), process.path("weir")).unwrap();
    // Neither the socket's directory nor the file system of the pins is theirs.
    let socket = process.path("not-theirs/weir.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let config = fs::read_to_string(process.path("weir.yaml")).unwrap();
    let config =
        config.replace(process.path("weir.sock").to_str().unwrap(), socket.to_str().unwrap());
    fs::write(process.path("unprivileged.yaml"), config).unwrap();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let all = "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF";
    let rows: [(&[&str], &str); 4] = [
        (&nobody, all),
        (&["--bounding-set=-all"], all),
        (&["--bounding-set=-bpf"], "CAP_BPF"),
        (&["--bounding-set=-net_admin,-perfmon"], "CAP_NET_ADMIN, CAP_PERFMON"),
    ];
    let bpffs = process.path("bpf");
    let before = host(&process.world, Some(&bpffs));
    for (privileges, missing) in rows {
        let mut command = process.world.lab.lb().command("setpriv");
        command.args(privileges).arg(process.path("weir")).args(["run", "--config"]);
        command.arg(process.path("unprivileged.yaml")).arg("--bpffs").arg(&bpffs);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{privileges:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "weir: missing capabilities: {missing}; run as root, or grant CAP_BPF, CAP_NET_ADMIN \
             and CAP_PERFMON\n"
        );
        assert_eq!(said, expected, "{privileges:?}");
    }
    assert_eq!(host(&process.world, Some(&bpffs)), before);
    assert!(!socket.exists());
}

/// A daemon that is started, must fail, and says why in one line.
fn fails_to_run(process: &Process, config: &str, bpffs: &Path) -> String {
    fs::write(process.path("other.yaml"), config).unwrap();
    let mut command = process.world.lab.lb().command(env!("CARGO_BIN_EXE_weir"));
    command.arg("run").arg("--config").arg(process.path("other.yaml")).arg("--bpffs").arg(bpffs);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_start_that_fails_does_not_end_what_a_killed_daemon_left_at_work() {
    let mut process = Process::new();
    let config = fs::read_to_string(process.path("weir.yaml")).unwrap();
    process.signal(Signal::SIGKILL);
    let bpffs = process.path("bpf");
    let before = host(&process.world, Some(&bpffs));
    // br0 is attached before it turns out that nowhere0 does not exist.
    for interfaces in ["[nowhere0]", "[up0, nowhere0]", "[br0, nowhere0]"] {
        let config = config.replace("[up0]", interfaces);
        let said = fails_to_run(&process, &config, &bpffs);
        assert!(said.contains("there is no interface \"nowhere0\""), "{said}");
        assert_eq!(host(&process.world, Some(&bpffs)), before, "{interfaces}");
        let report = process.world.load(60);
        assert_eq!((report.answered(), report.failures()), (60, 0), "{interfaces}: {report:?}");
    }
    process.start();
    assert!(process.signal(Signal::SIGTERM).success());
    assert_eq!(process.pins(), 0);
}

#[test]
fn what_is_missing_is_said_in_one_line_and_nothing_stays() {
    let mut process = Process::new();
    let config = fs::read_to_string(process.path("weir.yaml")).unwrap();
    process.signal(Signal::SIGTERM);
    let bpffs = process.path("bpf");
    let before = host(&process.world, Some(&bpffs));
    let nowhere = config.replace("[up0]", "[up0, nowhere0]");
    let unbound = config.replace("weir.sock", "weir.yaml/weir.sock");
    let plain = process.path("");
    let rows = [
        (&nowhere, &bpffs, "weir: there is no interface \"nowhere0\"; there are "),
        (&unbound, &bpffs, "cannot make its directory: "),
        (&config, &plain, "weir: no BPF filesystem at "),
    ];
    for (config, bpffs_of_row, expected) in rows {
        let said = fails_to_run(&process, config, bpffs_of_row);
        assert!(said.contains(expected), "{said}");
        // A cause that its message names already is not told again.
        let (_, cause) = said.trim_end().rsplit_once(": ").unwrap();
        assert_eq!(said.matches(cause).count(), 1, "{said}");
        assert_eq!(host(&process.world, Some(&bpffs)), before, "{said}");
        assert!(!process.path("weir.sock").exists(), "{said}");
    }
}

#[test]
fn an_interface_that_takes_the_name_and_number_of_a_lost_one_is_attached_anew() {
    let mut process = Process::new();
    process.signal(Signal::SIGKILL);
    let lb = process.world.lab.lb();
    let client = process.world.lab.client();
    let index = lb.in_netns(|| if_nametoindex(UPLINK).unwrap()).unwrap().to_string();
    let ip = |netns: &lb_userspace::lab::Netns, line: &str| {
        let output = netns.command("ip").args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    ip(lb, &format!("link del {UPLINK}"));
    ip(lb, &format!("link add {UPLINK} index {index} type veth peer {CLIENT_LINK}"));
    ip(lb, &format!("link set {CLIENT_LINK} netns {}", client.name()));
    for (netns, link, address) in
        [(lb, UPLINK, LB_V4), (client, CLIENT_LINK, CLIENT_V4)] as [(_, _, Ipv4Addr); 2]
    {
        ip(netns, &format!("addr add {address}/24 dev {link}"));
        ip(netns, &format!("link set {link} up"));
    }
    ip(client, &format!("route add default via {LB_V4}"));
    process.start();
    let answers = || process.world.curl(&format!("http://{}/", vip_v4(1))).status.success();
    eventually("requests are answered", answers);
}

#[test]
fn no_namespace_gets_the_pins_of_one_that_is_gone() {
    // A namespace that lives as long as its thread: its inode number and its pins.
    let namespace = || {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let inode = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        let twice = [(); 2].map(|()| Pins::new(Path::new("/nowhere")).unwrap());
        assert_eq!(twice[0], twice[1]);
        (inode, twice[0].root().to_owned())
    };
    let mut seen: BTreeMap<u64, PathBuf> = BTreeMap::new();
    // The kernel gives the number of a dead namespace to another one before long.
    eventually("an inode number comes again", || {
        let (inode, pins) = std::thread::spawn(namespace).join().unwrap();
        assert!(!seen.values().any(|others| *others == pins), "{}", pins.display());
        seen.insert(inode, pins).is_some()
    });
}

#[test]
fn programs_of_another_version_are_named_and_go_on() {
    let mut process = Process::new();
    process.signal(Signal::SIGKILL);
    let bpffs = process.path("bpf");
    let [pins] = &Pins::all(&bpffs).unwrap()[..] else { panic!("the pins of one daemon") };
    let name = pins.root().file_name().unwrap().to_str().unwrap().to_owned();
    let (version, namespace) = name["weir-v".len()..].split_once('-').unwrap();
    let version: u32 = version.parse().unwrap();
    // As an earlier version or a later one would have left them.
    for other in [version - 1, version + 1] {
        let theirs = bpffs.join(format!("weir-v{other}-{namespace}"));
        fs::rename(bpffs.join(&name), &theirs).unwrap();
        let before = host(&process.world, Some(&bpffs));
        let mut command = process.world.lab.lb().command(env!("CARGO_BIN_EXE_weir"));
        command.arg("run").arg("--config").arg(process.path("weir.yaml"));
        let output = command.arg("--bpffs").arg(&bpffs).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{other}: {text}");
        let part = format!("a weir whose maps have layout {other} (this one: {version}) left its");
        assert!(text.contains(&part), "{other}: {text}");
        assert_eq!(host(&process.world, Some(&bpffs)), before, "{other}");
        let report = process.world.load(60);
        assert_eq!((report.answered(), report.failures()), (60, 0), "{other}: {report:?}");
        fs::rename(&theirs, bpffs.join(&name)).unwrap();
    }
    // "weir detach" takes them off, whichever they are.
    let theirs = bpffs.join(format!("weir-v{}-{namespace}", version + 1));
    fs::rename(bpffs.join(&name), theirs).unwrap();
    process.detach();
    process.start();
    assert_eq!(process.world.load(60).failures(), 0);
}
