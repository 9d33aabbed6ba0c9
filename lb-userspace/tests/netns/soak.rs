//! A daemon under random changes, for as long as wanted: no client notices, nothing is left behind.
//!
//! `WEIR_SOAK_SECONDS` says how long, `WEIR_SOAK_SEED` where chance begins; `cargo xtask soak` sets
//! both.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lb_common::abi::{
    service::{Service, select},
    settings::Settings,
};
use lb_userspace::{
    config, daemon,
    dataplane::{Dataplane, LoadOptions},
    demo::server::{Server, ServerProfile},
    maps::{
        LbMaps as _, Snapshot,
        dump::{listen_text, range_text},
    },
    model::Policy,
};
use nix::sys::signal::Signal;

use super::{
    crowd::{Call, Crowd},
    process::Process,
    world::eventually,
};

/// How long a crowd lives.
const ROUND: Duration = Duration::from_secs(4);
/// A backend that comes and goes; the crowd's service does not have it.
const RESTLESS_PORT: u16 = 9090;
/// By how much the daemon may have grown in the second half, in kilobytes.
const GROWTH_MAX: u64 = 16 << 10;

/// What a run begins with and ends with. Its backends need no time to be gone, and no policy
/// learns from load.
const CANONICAL: &str = "  - { name: c0, listen: [\"198.18.1.4:80\"], policy: maglev, \
     backends: [{ address: \"198.18.10.2:8080\", weight: 3 }, { address: \"198.18.10.3:8080\" }] }\n  \
     - { name: c1, listen: [\"198.18.1.4:27000-27100/udp\"], policy: least-connections, \
     sources: { allow: [198.18.0.0/15] }, backends: [{ address: \"198.18.10.4:9000\" }] }\n\
     drain: 1s\n";

/// `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// Up to thirty services of every kind, a line each.
fn random_services(chance: &mut Chance) -> String {
    let mut text = String::new();
    for n in 0..chance.below(30) {
        let width = chance.below(90);
        let protocol = chance.of(&["tcp", "udp"]);
        let listen = match width {
            0..60 => format!("{}", 10_000 + n),
            _ => format!("{}-{}", 20_000 + 100 * n, 20_000 + 100 * n + width),
        };
        let policy = chance.of(&Policy::ALL).name();
        write!(text, "  - {{ name: r{n}, listen: [\"198.18.1.3:{listen}/{protocol}\"], ").unwrap();
        write!(text, "policy: {policy}, ").unwrap();
        text.push_str(chance.of(&["", "affinity: { client-ip: 1h }, "]));
        text.push_str(chance.of(&["", "", "sources: { allow: [198.18.0.0/15] }, "]));
        let health = "health: { tcp: true, interval: 200ms, timeout: 100ms }, ";
        text.push_str(if protocol == "tcp" { chance.of(&["", "", health]) } else { "" });
        text.push_str("backends: [");
        for host in 2..=2 + chance.below(3) {
            let (port, weight) = (chance.of(&[8080, RESTLESS_PORT]), 1 + chance.below(9));
            let backend = format!("{{ address: \"198.18.10.{host}:{port}\", weight: {weight} }}, ");
            text.push_str(&backend);
        }
        text.push_str("] }\n");
    }
    text
}

/// The daemon and what is done to it.
struct Soak {
    process: Process,
    chance: Chance,
    restless: Option<Server>,
    round: u16,
    changes: u64,
}

impl Soak {
    fn weir(&self, arguments: &[&str]) {
        let output = self.process.weir(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// One change of whatever kind.
    fn change(&mut self, may_die: bool) {
        self.changes += 1;
        let backend = format!("198.18.10.{}:8080", self.chance.of(&[3, 4]));
        match self.chance.below(20) {
            0..9 => {
                self.process.more_services = random_services(&mut self.chance);
                let weight = u16::try_from(1 + self.chance.below(9)).unwrap();
                self.process.write_config(weight);
            }
            9 => fs::write(self.process.path("weir.yaml"), "services: [{ name: 7").unwrap(),
            10..12 => self.weir(&["drain", &backend]),
            12..14 => self.weir(&["undrain", &backend]),
            14..16 => {
                let weight = self.chance.of(&["1", "5", "200", "auto"]);
                self.weir(&["weight", "web", &backend, weight]);
            }
            16..18 => self.come_or_go(),
            18 if may_die => {
                self.process.signal(Signal::SIGKILL);
                self.process.write_config(3);
                self.process.start();
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(20 + self.chance.below(150)));
    }

    /// A backend that some of the random services have starts or ends.
    fn come_or_go(&mut self) {
        if self.restless.take().is_some() {
            return;
        }
        let backend = &self.process.world.lab.backends()[1];
        let at = SocketAddr::new(backend.v4.into(), RESTLESS_PORT);
        let profile = ServerProfile::default();
        self.restless = Server::start(Some(&backend.netns), at, "restless", profile).ok();
    }

    /// Changes until the time is over, under crowds of clients.
    fn run(&mut self, time: Duration, may_die: bool) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let crowd = Crowd::start_round(self.process.world.lab.client(), self.round);
            self.round += 1;
            let round_end = end.min(Instant::now() + ROUND);
            while Instant::now() < round_end {
                self.change(may_die);
            }
            let calls = crowd.finish();
            let failed: Vec<&Call> = calls.iter().filter(|call| call.answer.is_err()).collect();
            let changes = self.changes;
            assert!(failed.is_empty(), "of {} after {changes} changes: {failed:?}", calls.len());
        }
    }

    /// Brings the daemon to rest where it began.
    fn rest(&mut self) {
        self.restless = None;
        for backend in ["198.18.10.3:8080", "198.18.10.4:8080"] {
            self.weir(&["undrain", backend]);
            self.weir(&["weight", "web", backend, "auto"]);
        }
        CANONICAL.clone_into(&mut self.process.more_services);
        self.process.write_config(3);
        eventually("what has left is gone", || {
            let output = self.process.weir(&["backends", "--json"]).stdout;
            let text = String::from_utf8(output).unwrap();
            let names: Vec<&str> = text.split("\"endpoint\"").collect();
            // Three of each family, and the one of the datagrams.
            names.len() == 1 + 7
        });
        // Surplus ports of the filter are looked at once a second, and wait as long as flows do.
        std::thread::sleep(Duration::from_secs(4));
        let status = self.process.status();
        assert_eq!(status["problems"], serde_json::json!([]), "{status}");
        assert!(status["last_reload"]["error"].is_null(), "{status}");
    }

    /// Kilobytes in memory, descriptors, pins.
    fn holds(&self) -> (u64, usize, usize) {
        let pid = self.process.child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = resident.trim().trim_end_matches("kB").trim().parse().unwrap();
        // Whoever has just asked may still be connected: the least of a second counts.
        let descriptors = (0..10).map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
        });
        let descriptors = descriptors.min().unwrap();
        let directories = ["maps", "links"];
        let roots = fs::read_dir(self.process.path("bpf")).unwrap().flatten();
        let count = |root: fs::DirEntry| {
            let entries = directories.map(|name| fs::read_dir(root.path().join(name)));
            entries.into_iter().flatten().map(Iterator::count).sum::<usize>()
        };
        (resident, descriptors, roots.map(count).sum())
    }

    /// Kills the daemon and reads the maps that it leaves.
    fn maps(&mut self) -> (Snapshot, Snapshot) {
        let loaded = config::load(&self.process.path("weir.yaml")).unwrap();
        let bpffs = Some(self.process.path("bpf"));
        let options = LoadOptions { limits: loaded.config.limits, bpffs, trace: false };
        self.process.signal(Signal::SIGKILL);
        let read = || Dataplane::load(&options).unwrap().maps.snapshot().unwrap();
        let left = self.process.world.lab.lb().in_netns(read).unwrap();
        let ticks = left.settings.ticks_per_second;
        let mut fresh = Snapshot::default();
        for write in daemon::writes_for(loaded.config, ticks).unwrap().writes {
            fresh.apply(&write);
        }
        (left, fresh)
    }
}

/// Words of a slot.
const fn stride(service: &Service) -> usize {
    match service.select {
        select::SCAN_LEAST | select::SCAN_DELAY => 2,
        select::SCAN_REQUESTS => 3,
        _ => 1,
    }
}

/// What maps mean, whichever ids and pages it is said with.
fn meaning(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let names: BTreeMap<u32, String> = snapshot
        .present_backends()
        .map(|(id, end)| (id, format!("{end}/{}", end.protocol)))
        .collect();
    let entry = |service: &Service| {
        let mut text = format!(
            "select {} flags {} usable {} affinity {}:",
            service.select, service.flags, service.usable, service.affinity_ticks
        );
        for (at, word) in snapshot.table_words(service).enumerate() {
            if at % stride(service) == 0 {
                write!(text, " {}", names[&word]).unwrap();
            } else {
                write!(text, "*{word}").unwrap();
            }
        }
        text
    };
    let exact = snapshot.listens.iter().map(|(key, service)| (listen_text(key), entry(service)));
    let ranges = snapshot.ranges.iter().map(|(key, service)| (range_text(key), entry(service)));
    let backends = names.iter().map(|(id, name)| {
        let backend = &snapshot.backends[id];
        (name.clone(), format!("state {} capacity {}", backend.state, backend.capacity))
    });
    exact.chain(ranges).chain(backends).collect()
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_changes_leave_nothing_behind_and_break_nothing() {
    let (seconds, seed) = (number("WEIR_SOAK_SECONDS", 20), number("WEIR_SOAK_SEED", 1));
    println!("{seconds} seconds from seed {seed}");
    let half = Duration::from_secs(seconds) / 2;
    let (process, chance) = (Process::new(), Chance(seed));
    let mut soak = Soak { process, chance, restless: None, round: 0, changes: 0 };
    soak.run(half, true);
    soak.rest();
    let (resident, descriptors, pins) = soak.holds();
    soak.run(half, false);
    soak.rest();
    let after = soak.holds();
    println!("{} changes; resident {resident} -> {} KB", soak.changes, after.0);
    assert_eq!((after.1, after.2), (descriptors, pins), "descriptors and pins");
    assert!(after.0 < resident + GROWTH_MAX, "resident: {resident} -> {} KB", after.0);

    let (left, fresh) = soak.maps();
    assert_eq!(meaning(&left), meaning(&fresh));
    assert_eq!(left.pages.len(), fresh.pages.len(), "pages");
    let sources = |snapshot: &Snapshot| {
        let sources = snapshot.sources.iter().map(|source| (source.bits, source.key.address));
        sources.collect::<Vec<_>>()
    };
    assert_eq!(sources(&left), sources(&fresh));
    assert_eq!(left.ports, fresh.ports);
    let settings = |snapshot: &Snapshot| Settings { generation: 0, ..snapshot.settings };
    assert_eq!(settings(&left), settings(&fresh));
}
