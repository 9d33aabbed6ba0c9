//! The program itself: configuration files, signals, pins, sudden death.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use lb_userspace::{
    demo::{client::Load, tally::LoadReport},
    lab::{Topology, vip_v4},
    model::{Attach, Policy},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::world::{World, eventually, plan};

/// A daemon as users start it, with a directory and a BPF filesystem of its own.
pub(crate) struct Process {
    pub(crate) child: Option<Child>,
    directory: tempfile::TempDir,
    pub(crate) host_clients: String,
    /// The uplinks, as they stand in the file.
    pub(crate) interfaces: String,
    /// Services beside `web`, a line each.
    pub(crate) more_services: String,
    pub(crate) world: World,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self::with("off")
    }

    /// A daemon with a value of `host-clients`.
    pub(crate) fn with(host_clients: &str) -> Self {
        let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |_| {});
        Self::instead(world, host_clients)
    }

    /// A daemon in the place of that of a world.
    pub(crate) fn instead(mut world: World, host_clients: &str) -> Self {
        world.daemon.take().unwrap().finish().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let bpffs = directory.path().join("bpf");
        fs::create_dir(&bpffs).unwrap();
        let none: Option<&Path> = None;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), none).unwrap();
        let host_clients = host_clients.to_owned();
        let (interfaces, more_services) = ("[up0]".to_owned(), String::new());
        let mut process =
            Self { child: None, directory, host_clients, interfaces, more_services, world };
        process.write_config(1);
        process.start();
        process
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write_config(&self, weight: u16) {
        let socket = self.path("weir.sock");
        let backend = |n: u8, weight| {
            format!(
                "      - {{ address: \"198.18.10.{n}:8080\", weight: {weight} }}\n      \
                 - {{ address: \"[fd00:18:10::{n}]:8080\", weight: {weight} }}\n"
            )
        };
        let text = format!(
            "interfaces: {}\nattach: tc\nhost-clients: {}\nservices:\n  - name: web\n    \
             listen: [\"198.18.1.1:80\", \"[fd00:18:1::1]:80\"]\n    \
             policy: weighted-round-robin\n    backends:\n{}{}{}{}\
             admin: {{ socket: {}, http: false }}\n",
            self.interfaces,
            self.host_clients,
            backend(2, weight),
            backend(3, 2),
            backend(4, 1),
            self.more_services,
            socket.display(),
        );
        // As editors do: a new file takes the old one's place.
        fs::write(self.path("new.yaml"), text).unwrap();
        fs::rename(self.path("new.yaml"), self.path("weir.yaml")).unwrap();
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&self.path("bpf"));
    }

    fn start_with(&mut self, bpffs: &Path) {
        let mut command = self.world.lab.lb().command(env!("CARGO_BIN_EXE_weir"));
        command.arg("run").arg("--config").arg(self.path("weir.yaml"));
        command.arg("--bpffs").arg(bpffs);
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.child = Some(command.stderr(log).spawn().unwrap());
        eventually("the daemon answers", || self.weir(&["status"]).status.success());
    }

    /// A client command.
    pub(crate) fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--socket").arg(self.path("weir.sock"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What `weir detach` says.
    pub(crate) fn detach(&self) -> String {
        let bpffs = self.path("bpf");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let output = command.args(["detach", "--bpffs", bpffs.to_str().unwrap()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        child.wait().unwrap()
    }

    pub(crate) fn pins(&self) -> usize {
        let weir = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("weir");
        fs::read_dir(self.path("bpf")).unwrap().flatten().filter(weir).count()
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.weir(&["status", "--json"]).stdout).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let bpffs = self.path("bpf");
        self.detach();
        let _ = umount2(&bpffs, MntFlags::MNT_DETACH);
    }
}

fn load(process: &Process, keep_alive: bool, requests: u64) -> lb_userspace::demo::client::LoadRun {
    let load = Load {
        vips: World::vips(),
        connections: 8,
        keep_alive,
        max_requests: requests,
        duration: Duration::from_secs(120),
        ..Load::default()
    };
    load.start(Some(process.world.lab.client())).unwrap()
}

fn clean(report: &LoadReport, requests: u64) {
    assert_eq!((report.answered(), report.failures()), (requests, 0), "{report:?}");
}

#[test]
fn a_hundred_thousand_requests_while_the_configuration_changes_every_second() {
    let process = Process::new();
    let runs = [(true, 80_000), (false, 20_000)];
    let loads = runs.map(|(keep_alive, requests)| load(&process, keep_alive, requests));
    let mut weight = 1;
    let mut running = loads.each_ref().map(lb_userspace::demo::client::LoadRun::snapshots);
    while running.iter_mut().any(|snapshots| snapshots.has_changed().is_ok()) {
        weight = weight % 7 + 1;
        process.write_config(weight);
        let drained = ["drain", "198.18.10.4:8080"];
        let other = if weight % 2 == 0 { "undrain" } else { "drain" };
        process.weir(&[other, drained[1]]);
        std::thread::sleep(Duration::from_secs(1));
    }
    for (run, (_, requests)) in loads.into_iter().zip(runs) {
        clean(&run.finish().unwrap(), requests);
    }
    let status = process.status();
    assert!(status["generation"].as_u64().unwrap() > 3, "{status}");
    assert!(status["last_reload"]["error"].is_null(), "{status}");
}

#[test]
fn a_configuration_that_does_not_validate_changes_nothing() {
    let process = Process::new();
    let generation = process.status()["generation"].clone();
    fs::write(process.path("weir.yaml"), "services: [{ name: web, listen: [nonsense] }]").unwrap();
    eventually("the mistake is told", || {
        process.status()["last_reload"]["error"].as_str().is_some_and(|e| e.contains("nonsense"))
    });
    assert_eq!(process.status()["generation"], generation);
    clean(&load(&process, false, 50).finish().unwrap(), 50);
    process.write_config(3);
    eventually("it is mended", || process.status()["last_reload"]["error"].is_null());
}

/// A line of `/proc/PID/status`, as a number in hex.
fn of_status(process: &Process, field: &str) -> u64 {
    let pid = process.child.as_ref().unwrap().id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

#[test]
fn the_daemon_keeps_no_capability_that_it_does_not_need() {
    // Their numbers in linux/capability.h.
    let (read_search, bind, net_admin, ptrace, admin) = (2, 10, 12, 19, 21);
    let (perfmon, bpf) = (38, 39);
    let mask = |all: &[u32]| all.iter().fold(0_u64, |mask, number| mask | 1 << number);
    let effective = mask(&[read_search, bind, net_admin, ptrace, perfmon, bpf]);
    let permitted = effective | mask(&[admin]);
    let process = Process::new();
    for (field, allowed) in [
        ("CapEff", effective),
        ("CapPrm", permitted),
        ("CapBnd", permitted),
        ("CapInh", 0),
        ("CapAmb", 0),
    ] {
        let has = of_status(&process, field);
        assert_eq!(has & !allowed, 0, "{field}: {has:x}");
    }
    assert_eq!(of_status(&process, "CapEff"), effective);
    assert_eq!(of_status(&process, "NoNewPrivs"), 1);
    assert_eq!(of_status(&process, "Seccomp"), 2, "system calls are filtered");
    let mode = fs::metadata(process.path("weir.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn sigterm_leaves_nothing_behind() {
    let mut process = Process::new();
    assert_eq!(process.pins(), 1);
    assert!(process.signal(Signal::SIGTERM).success());
    assert_eq!(process.pins(), 0);
    assert!(!process.path("weir.sock").exists());
    let url = format!("http://{}/", vip_v4(1));
    assert!(!process.world.curl(&url).status.success());
}

#[test]
fn sudden_death_stops_nothing_and_the_next_daemon_takes_over() {
    let mut process = Process::new();
    let run = load(&process, true, 20_000);
    let mut snapshots = run.snapshots();
    eventually("requests run", || snapshots.has_changed().unwrap_or(true));
    snapshots.mark_unchanged();
    process.signal(Signal::SIGKILL);
    clean(&load(&process, false, 200).finish().unwrap(), 200);
    process.start();
    clean(&load(&process, false, 200).finish().unwrap(), 200);
    clean(&run.finish().unwrap(), 20_000);
    assert!(process.signal(Signal::SIGTERM).success());
    assert_eq!(process.pins(), 0);
}

#[test]
fn detach_takes_off_what_a_dead_daemon_left() {
    let mut process = Process::new();
    process.signal(Signal::SIGKILL);
    assert!(process.detach().starts_with("detached "));
    assert_eq!(process.pins(), 0);
    let url = format!("http://{}/", vip_v4(1));
    assert!(!process.world.curl(&url).status.success());
    assert!(process.detach().starts_with("nothing to detach"));
}

#[test]
fn one_daemon_at_a_time_balances_in_a_namespace() {
    let process = Process::new();
    let holder = process.child.as_ref().unwrap().id();
    let config = fs::read_to_string(process.path("weir.yaml")).unwrap();
    let other = config.replace("weir.sock", "other.sock");
    fs::write(process.path("other.yaml"), other).unwrap();
    let bpffs = process.path("bpf");
    let mut second = process.world.lab.lb().command(env!("CARGO_BIN_EXE_weir"));
    second.arg("run").arg("--config").arg(process.path("other.yaml"));
    let second = second.arg("--bpffs").arg(&bpffs).output().unwrap();
    let mut detach = Command::new(env!("CARGO_BIN_EXE_weir"));
    let detach = detach.arg("detach").arg("--bpffs").arg(&bpffs).output().unwrap();
    for refused in [second, detach] {
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("another daemon (pid {holder})")), "{said}");
    }
    clean(&load(&process, false, 200).finish().unwrap(), 200);
}

#[test]
fn daemons_of_two_namespaces_share_a_bpf_filesystem() {
    let first = Process::new();
    let mut second = Process::new();
    second.signal(Signal::SIGTERM);
    let shared = first.path("bpf");
    second.start_with(&shared);
    assert_eq!(first.pins(), 2);
    for process in [&first, &second] {
        clean(&load(process, false, 200).finish().unwrap(), 200);
    }
    assert!(second.signal(Signal::SIGTERM).success());
    assert_eq!(first.pins(), 1);
    clean(&load(&first, false, 200).finish().unwrap(), 200);
}

#[test]
fn the_commands_of_the_command_line_answer() {
    let process = Process::new();
    clean(&load(&process, false, 30).finish().unwrap(), 30);
    let rows: [(&[&str], &str); 8] = [
        (&["status"], "up0 (tc)"),
        (&["services"], "web"),
        (&["backends"], "198.18.10.2:8080/tcp"),
        (&["flows"], "web"),
        (&["explain", "tcp", "198.18.0.2:40000", "198.18.1.1:80"], "weighted-round-robin"),
        (&["drain", "198.18.10.2:8080"], "takes no new flows"),
        (&["undrain", "198.18.10.2:8080"], "takes new flows again"),
        (&["weight", "web", "198.18.10.2:8080", "5"], "has weight 5 in web"),
    ];
    for (arguments, expected) in rows {
        let output = process.weir(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(expected), "{arguments:?}: {output:?}");
    }
    for arguments in [
        ["drain", "198.18.10.99:8080"].as_slice(),
        ["weight", "nothing", "198.18.10.2:8080", "5"].as_slice(),
        ["weight", "web", "198.18.10.99:8080", "5"].as_slice(),
    ] {
        assert_eq!(process.weir(arguments).status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn simulate_says_what_would_become_of_packets() {
    let process = Process::new();
    // A SYN of 198.18.0.2:40000 to 198.18.1.1:80, and something that is not IP at all.
    let syn = "020000000001 020000000002 0800 45000028000040004006ad9f c6120002 c6120101 \
               9c40 0050 000003e8 00000000 5002 fa00 0000 0000";
    fs::write(process.path("packets"), format!("# two packets\n{syn}\n{}\n", "00".repeat(60)))
        .unwrap();
    for mode in ["xdp", "tc"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.arg("simulate").arg("--config").arg(process.path("weir.yaml"));
        command.arg("--hex").arg(process.path("packets")).args(["--mode", mode]);
        command.arg("--out").arg(process.path("out.pcap"));
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines[0]["reason"], "forwarded");
        assert_eq!(lines[0]["service"], "web");
        assert_eq!(lines[0]["backend"], "198.18.10.3:8080");
        assert_eq!(lines[1]["reason"], "not-ip");
        let dump = Command::new("tcpdump").arg("-nr").arg(process.path("out.pcap")).output();
        let dump = String::from_utf8(dump.unwrap().stdout).unwrap();
        assert!(dump.contains("198.18.0.2.40000 > 198.18.10.3.8080: Flags [S]"), "{dump}");
    }
}
