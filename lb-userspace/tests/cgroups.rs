//! Cgroups of the kernel that runs, under loads of known size. What is asserted are ratios that a
//! busy machine does not change.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "cgroups/bench.rs"]
mod bench;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use lb_userspace::load::host::{
    Cgroup, CgroupError, Host, Meter, Scratch, Unknown, Utilisations, host, raise_descriptor_limit,
};

use self::bench::{Group, Kernel};

const MIB: u64 = 1 << 20;

/// A cgroup and what was read of it before.
struct Watched {
    cgroup: Cgroup,
    meter: Meter,
    host: Host,
}

impl Watched {
    fn new(path: &Path) -> Self {
        let cgroup = Cgroup::of_path(path, host().unwrap(), &mut Scratch::default()).unwrap();
        let mut watched = Self { cgroup, meter: Meter::default(), host: host().unwrap() };
        assert_eq!(watched.look().cpu, Err(Unknown::First));
        watched
    }

    fn look(&mut self) -> Utilisations {
        let reading = self.cgroup.read(&mut Scratch::default()).unwrap();
        self.meter.take(Instant::now(), reading, None, None, self.host)
    }
}

/// Looks at all of them now, and again a while later.
fn over<const N: usize>(paths: [&Path; N]) -> [Utilisations; N] {
    let mut watched = paths.map(Watched::new);
    thread::sleep(Duration::from_secs(2));
    watched.each_mut().map(Watched::look)
}

#[test]
fn a_burner_fills_its_quota_and_an_idle_one_does_not() {
    let (burner, idle) = (Group::new("burner"), Group::new("idle"));
    burner.set_quota(20_000);
    idle.set_quota(20_000);
    let _burn = burner.run("while :; do :; done");
    let _sleep = idle.run("sleep 100");
    thread::sleep(Duration::from_millis(300));
    let [burns, idles] = over([burner.path(), idle.path()]);
    assert!(burns.cpu.unwrap() > 0.8, "{burns:?}");
    assert!(burns.throttled.unwrap() > 0.5, "{burns:?}");
    assert!(idles.cpu.unwrap() < 0.2, "{idles:?}");
    for found in [burns, idles] {
        assert!((found.cores - 0.2).abs() < 1e-9, "{found:?}");
        assert!(found.memory.unwrap() < 0.2, "{found:?}");
    }
    if Kernel::get().has_pressure() {
        assert!(burns.stalled.cpu.unwrap() > idles.stalled.cpu.unwrap(), "{burns:?} {idles:?}");
        assert!(burns.io.is_ok() && burns.stalled.memory.is_ok(), "{burns:?}");
    }
}

#[test]
fn a_quota_above_binds_all_below() {
    let pod = Group::new("pod");
    pod.set_quota(20_000);
    let (burner, idle) = (pod.child("burner"), pod.child("idle"));
    let _burn = burner.run("while :; do :; done");
    let _sleep = idle.run("sleep 100");
    thread::sleep(Duration::from_millis(300));
    for found in over([burner.path(), idle.path()]) {
        // The idle one, too, would have to wait for its neighbour.
        assert!(found.cpu.unwrap() > 0.8, "{found:?}");
        assert!((found.cores - 0.2).abs() < 1e-9, "{found:?}");
    }
    // The tighter of two limits binds.
    burner.set_quota(5_000);
    let [found] = over([burner.path()]);
    assert!((found.cores - 0.05).abs() < 1e-9, "{found:?}");
    assert!(found.cpu.unwrap() > 0.8, "{found:?}");
}

#[test]
fn a_changed_quota_is_seen_when_asked_for() {
    let group = Group::new("changed");
    group.set_quota(20_000);
    let mut watched = Watched::new(group.path());
    group.set_quota(50_000);
    watched.cgroup.refresh();
    let found = watched.look();
    assert!((found.cores - 0.5).abs() < 1e-9, "{found:?}");
}

#[test]
fn memory_is_full_of_what_cannot_be_given_back() {
    let (eater, cacher) = (Group::new("eater"), Group::new("cacher"));
    let directory = tempfile::tempdir().unwrap();
    let shared = tempfile::tempdir_in("/dev/shm").unwrap();
    for group in [&eater, &cacher] {
        group.set_memory_limit(64 * MIB);
    }
    // Memory of a filesystem in memory stays; a file's pages on a disk are cache.
    let fill =
        |path: &Path| format!("head -c 60M /dev/zero > {0}/file; sync {0}/file", path.display());
    eater.run(&fill(shared.path())).finish();
    cacher.run(&fill(directory.path())).finish();
    let [full, cached] = over([eater.path(), cacher.path()]);
    assert!(full.memory.unwrap() > 0.5, "{full:?}");
    assert!(cached.memory.unwrap() < 0.2, "{cached:?}");
    for found in [full, cached] {
        assert_eq!(found.memory_limit, 64 * MIB);
        assert_eq!(found.oom_kills, 0);
    }
    assert!(full.working_set.unwrap() > 55 * MIB, "{full:?}");
}

#[test]
fn a_process_killed_for_memory_is_counted() {
    let group = Group::new("killed");
    group.set_memory_limit(16 * MIB);
    let mut watched = Watched::new(group.path());
    let shared = tempfile::tempdir_in("/dev/shm").unwrap();
    group.run(&format!("exec head -c 64M /dev/zero > {}/file", shared.path().display())).finish();
    thread::sleep(Duration::from_millis(100));
    let found = watched.look();
    assert!(found.oom_kills >= 1, "{found:?}");
}

#[test]
fn a_writer_fills_its_limit() {
    let group = Group::new("writer");
    let directory = tempfile::tempdir().unwrap();
    let device = fs::metadata(directory.path()).unwrap().dev();
    let device = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    if !group.set_write_limit(&device, MIB) {
        eprintln!("not tested: the kernel does not limit writes to device {device}");
        return;
    }
    let write = format!(
        "exec dd if=/dev/zero of={}/file bs=64k count=1000 oflag=direct status=none",
        directory.path().display()
    );
    let _write = group.run(&write);
    let idle = Group::new("reader");
    assert!(idle.set_write_limit(&device, MIB));
    thread::sleep(Duration::from_millis(300));
    let [writes, idles] = over([group.path(), idle.path()]);
    assert!(writes.io.unwrap() > 0.5, "{writes:?}");
    assert!(idles.io.unwrap() < 0.1, "{idles:?}");
}

#[test]
fn a_cgroup_that_comes_back_is_another_one() {
    let group = Group::new("again");
    let path = group.path().to_path_buf();
    let mut watched = Watched::new(&path);
    drop(group);
    for _ in 0..2 {
        let gone = watched.cgroup.read(&mut Scratch::default());
        assert!(matches!(gone, Err(CgroupError::Gone(_))), "{gone:?}");
    }
    let group = Group::again(&path);
    assert_eq!(watched.look().cpu, Err(Unknown::Restarted));
    thread::sleep(Duration::from_millis(200));
    assert!(watched.look().cpu.is_ok());
    drop(group);
}

#[test]
fn hierarchies_of_a_path_appear_and_vanish_one_by_one() {
    let kernel = Kernel::get();
    let group = Group::new("parts");
    let directories = kernel.directories(group.path());
    let memory =
        directories.iter().find(|directory| directory.starts_with("/sys/fs/cgroup/memory"));
    let Some(memory) = memory else {
        eprintln!("not tested: there is one hierarchy for all");
        return;
    };
    let is_shown = |watched: &mut Watched| {
        watched.cgroup.refresh();
        let used = watched.look();
        used.working_set.is_some()
    };
    fs::remove_dir(memory).unwrap();
    let mut watched = Watched::new(group.path());
    assert!(!is_shown(&mut watched));
    fs::create_dir(memory).unwrap();
    assert!(is_shown(&mut watched));
    fs::remove_dir(memory).unwrap();
    assert!(!is_shown(&mut watched));
    fs::create_dir(memory).unwrap();
}

#[test]
fn a_process_leads_to_its_cgroup() {
    let group = Group::new("process");
    group.set_quota(30_000);
    let child = group.run("sleep 100");
    let host = host().unwrap();
    let mut scratch = Scratch::default();
    let mut by_process = Cgroup::of_process(child.id(), host, &mut scratch).unwrap();
    let mut by_path = Cgroup::of_path(group.path(), host, &mut scratch).unwrap();
    let of_process = by_process.read(&mut scratch).unwrap();
    let of_path = by_path.read(&mut scratch).unwrap();
    assert_eq!(of_process.identity, of_path.identity);
    let quota = |reading: &lb_userspace::load::host::Reading| reading.cpu.own().unwrap().quota;
    assert_eq!(quota(&of_process).map(|quota| (quota.cores() * 100.0).round()), Some(30.0));
    assert_eq!(quota(&of_process), quota(&of_path));
    // Anybody's: that of the test itself may be the root, and is read all the same.
    let mut own = Cgroup::of_process(std::process::id(), host, &mut scratch).unwrap();
    own.read(&mut scratch).unwrap();
}

/// Prints what a second costs: with `--nocapture`.
#[test]
fn five_hundred_are_read_each_second() {
    const COUNT: u64 = 500;
    let parent = Group::new("many");
    let groups: Vec<Group> = (0..COUNT).map(|index| parent.child(&index.to_string())).collect();
    let mut scratch = Scratch::default();
    // Some eight files each.
    assert!(raise_descriptor_limit().unwrap() > 8 * COUNT, "too few descriptors are allowed");
    let host = host().unwrap();
    let mut open = |group: &Group| Cgroup::of_path(group.path(), host, &mut scratch).unwrap();
    let mut cgroups: Vec<Cgroup> = groups.iter().map(&mut open).collect();
    let mut rounds = Vec::new();
    for _ in 0..60 {
        let start = Instant::now();
        for cgroup in &mut cgroups {
            let reading = cgroup.read(&mut scratch).unwrap();
            assert!(reading.cpu.own().unwrap().usage_ns.is_some());
        }
        rounds.push(start.elapsed());
    }
    rounds.sort();
    let median = rounds[rounds.len() / 2];
    println!("{COUNT} cgroups: {median:?} a round (median of 60), slowest {:?}", rounds[59]);
    drop(cgroups);
}

#[test]
fn nothing_is_left_behind() {
    let path: PathBuf = {
        let group = Group::new("left");
        let child = group.child("child");
        let _burn = child.run("while :; do :; done");
        group.path().to_path_buf()
    };
    assert!(Kernel::get().directories(&path).iter().all(|directory| !directory.exists()));
}
