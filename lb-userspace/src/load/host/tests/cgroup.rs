//! Whole cgroups, as trees of files such as the kernel's. Only the kernel can take away what is
//! open: `lb-userspace/tests/cgroups.rs` has that.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::super::{
    Cgroup, CgroupError, Cpu, Device, Host, IoCounts, IoRates, Memory, Pressure, Quota, Reading,
    Scratch,
    locate::{LocateError, Mounts},
};

const HOST: Host = Host { cpus: 4, memory: 1 << 30 };

/// A directory with these files; a name that ends with `/` is an empty directory.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let top = tempfile::tempdir().unwrap();
    add(top.path(), files);
    top
}

fn add(top: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = top.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

fn open_v2(top: &TempDir, path: &str) -> Result<Cgroup, CgroupError> {
    let mounts = format!("30 23 0:26 / {} rw - cgroup2 none rw\n", top.path().display());
    let places = Mounts::parse(mounts.as_bytes()).of_process(format!("0::{path}\n").as_bytes())?;
    Cgroup::open(places, HOST, &mut Scratch::default())
}

/// Each controller in its own hierarchy, the unified one beside them.
fn open_v1(top: &TempDir, cgroup: &str) -> Result<Cgroup, CgroupError> {
    let top = top.path().display();
    let mount = |name| format!("1 2 0:1 / {top}/{name} rw - cgroup none rw,{name}\n");
    let mounts = ["cpu", "cpuacct", "cpuset", "memory", "blkio"].map(mount).concat();
    let mounts = format!("{mounts}1 2 0:1 / {top}/unified rw - cgroup2 none rw\n");
    let places = Mounts::parse(mounts.as_bytes()).of_process(cgroup.as_bytes())?;
    Cgroup::open(places, HOST, &mut Scratch::default())
}

fn read(cgroup: &mut Cgroup) -> Reading {
    cgroup.read(&mut Scratch::default()).unwrap()
}

fn quota(quota_us: u64) -> Option<Quota> {
    Quota::new(quota_us, 100_000)
}

const POD: [(&str, &str); 19] = [
    (
        "pod/web/cpu.stat",
        "usage_usec 5000\nuser_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 7\n",
    ),
    ("pod/web/cpu.max", "max 100000\n"),
    ("pod/web/cpuset.cpus.effective", "0-1\n"),
    ("pod/web/memory.current", "900\n"),
    ("pod/web/memory.max", "1000\n"),
    ("pod/web/memory.stat", "anon 500\nfile 400\ninactive_file 300\n"),
    ("pod/web/memory.events", "low 0\nhigh 0\nmax 8\noom 3\noom_kill 2\n"),
    (
        "pod/web/io.stat",
        "254:0 rbytes=10 wbytes=20 rios=3 wios=4\n8:0 rbytes=100 wbytes=0 rios=1 wios=0\n",
    ),
    ("pod/web/io.max", "254:0 rbps=1000 wbps=max riops=max wiops=50\n"),
    ("pod/web/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\n"),
    ("pod/web/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"),
    ("pod/web/io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=13\n"),
    ("pod/cpu.stat", "usage_usec 6000\nnr_periods 20\nnr_throttled 5\nthrottled_usec 8\n"),
    ("pod/cpu.max", "50000 100000\n"),
    ("pod/memory.current", "5000\n"),
    ("pod/memory.max", "max\n"),
    ("pod/io.max", ""),
    ("cpu.stat", "usage_usec 99999\n"),
    ("cpuset.cpus.effective", "0-3\n"),
];

#[test]
fn all_of_v2_is_read() {
    let top = tree(&POD);
    let found = read(&mut open_v2(&top, "/pod/web").unwrap());
    let own = Cpu {
        usage_ns: Some(5_000_000),
        quota: None,
        periods: 9,
        throttled: 4,
        throttled_ns: 7_000,
    };
    let pod = Cpu {
        usage_ns: Some(6_000_000),
        quota: quota(50_000),
        periods: 20,
        throttled: 5,
        throttled_ns: 8_000,
    };
    assert_eq!((found.cpu.own(), found.cpu.at(1), found.cpu.at(2)), (Some(&own), Some(&pod), None));
    assert_eq!(found.cpus, Some(2));
    let memory = Memory { usage: 900, inactive_file: 300, limit: Some(1000) };
    assert_eq!((found.memory.own(), found.memory.at(1)), (Some(&memory), None));
    assert_eq!(found.oom_kills, Some(2));
    let [Some(device), None, None, None] = found.io_limited else { panic!("{found:?}") };
    let disk = Device { major: 254, minor: 0 };
    let limits = IoRates { read_bytes: Some(1000), writes: Some(50), ..IoRates::default() };
    let counts = IoCounts { read_bytes: 10, written_bytes: 20, reads: 3, writes: 4 };
    assert_eq!((device.device, device.limits, device.counts), (disk, limits, counts));
    let pressure = Pressure { cpu_us: Some(11), memory_us: Some(12), io_us: Some(13) };
    assert_eq!(found.pressure, pressure);
}

const WEB: [(&str, &str); 22] = [
    ("cpu/docker/web/cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 7\n"),
    ("cpu/docker/web/cpu.cfs_quota_us", "25000\n"),
    ("cpu/docker/web/cpu.cfs_period_us", "100000\n"),
    ("cpu/docker/cpu.stat", "nr_periods 19\nnr_throttled 0\nthrottled_time 0\n"),
    ("cpu/docker/cpu.cfs_quota_us", "200000\n"),
    ("cpu/docker/cpu.cfs_period_us", "100000\n"),
    ("cpuacct/docker/web/cpuacct.usage", "5000000\n"),
    ("cpuacct/docker/cpuacct.usage", "9000000\n"),
    ("cpuset/docker/web/cpuset.effective_cpus", "\n"),
    ("cpuset/docker/cpuset.effective_cpus", "0,2\n"),
    ("memory/docker/web/memory.usage_in_bytes", "900\n"),
    ("memory/docker/web/memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory/docker/web/memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
    ("memory/docker/web/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ("memory/docker/memory.usage_in_bytes", "1500\n"),
    ("memory/docker/memory.limit_in_bytes", "2000\n"),
    ("memory/docker/memory.stat", "total_inactive_file 0\n"),
    (
        "blkio/docker/web/blkio.throttle.io_service_bytes",
        "254:0 Read 10\n254:0 Write 20\nTotal 30\n",
    ),
    ("blkio/docker/web/blkio.throttle.io_serviced", "254:0 Read 1\n254:0 Write 2\nTotal 3\n"),
    ("blkio/docker/web/blkio.throttle.write_bps_device", "254:0 1000\n"),
    ("blkio/docker/web/blkio.throttle.read_iops_device", "254:0 7\n"),
    ("unified/docker/web/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\n"),
];

const IN_WEB: &str = "5:cpu:/docker/web\n4:cpuacct:/docker/web\n3:cpuset:/docker/web\n\
    2:memory:/docker/web\n1:blkio:/docker/web\n0::/docker/web\n";

#[test]
fn all_of_v1_is_read() {
    let top = tree(&WEB);
    let found = read(&mut open_v1(&top, IN_WEB).unwrap());
    let own = Cpu {
        usage_ns: Some(5_000_000),
        quota: quota(25_000),
        periods: 9,
        throttled: 4,
        throttled_ns: 7,
    };
    let above = Cpu {
        usage_ns: Some(9_000_000),
        quota: quota(200_000),
        periods: 19,
        throttled: 0,
        throttled_ns: 0,
    };
    assert_eq!((found.cpu.own(), found.cpu.at(1)), (Some(&own), Some(&above)));
    assert_eq!(found.cpus, Some(2), "of the nearest cpuset that says anything");
    let own = Memory { usage: 900, inactive_file: 300, limit: None };
    let above = Memory { usage: 1500, inactive_file: 0, limit: Some(2000) };
    assert_eq!((found.memory.own(), found.memory.at(1)), (Some(&own), Some(&above)));
    assert_eq!(found.oom_kills, Some(2));
    let counts = IoCounts { read_bytes: 10, written_bytes: 20, reads: 1, writes: 2 };
    let [Some(device), None, None, None] = found.io_limited else { panic!("{found:?}") };
    let limits = IoRates { written_bytes: Some(1000), reads: Some(7), ..IoRates::default() };
    assert_eq!((device.limits, device.counts), (limits, counts));
    let pressure = Pressure { cpu_us: Some(11), ..Pressure::default() };
    assert_eq!(found.pressure, pressure);
}

#[test]
fn what_is_missing_or_broken_is_unknown() {
    let empty = Reading::default();
    let broken = [
        ("a/cpu.stat", "usage_usec many\nnr_periods -1\n"),
        ("a/cpu.max", "lots\n"),
        ("a/cpuset.cpus.effective", "3-1\n"),
        ("a/memory.current", "\n"),
        ("a/memory.max", "soon\n"),
        ("a/memory.events", "oom_kill\n"),
        ("a/io.max", "all rbps=1\n"),
        ("a/cpu.pressure", "none\n"),
        ("a/memory.pressure", ""),
        ("a/io.pressure/", ""),
    ];
    for (name, files) in [("nothing", &[("a/", "")][..]), ("nonsense", &broken)] {
        let found = read(&mut open_v2(&tree(files), "/a").unwrap());
        assert_eq!(found.cpu.own(), Some(&Cpu::default()), "{name}");
        let expected = Reading { identity: found.identity, cpu: found.cpu, ..empty };
        assert_eq!(found, expected, "{name}");
    }
    // A process may be in fewer hierarchies than there are.
    let top = tree(&WEB);
    let found = read(&mut open_v1(&top, "2:memory:/docker/web\n").unwrap());
    assert_eq!((found.cpu.own(), found.io_limited), (None, [None; 4]));
    assert_eq!(found.memory.own().map(|memory| memory.usage), Some(900));
}

/// What many share says nothing about one of them, unless it is a limit.
#[test]
fn what_is_shared_binds_and_is_not_its_own() {
    let top = tree(&WEB);
    add(top.path(), &[("unified/docker/cpu.pressure", "some total=99\n")]);
    let (own, above) = ("/docker/web", "/docker");
    let cgroup = format!("5:cpu:{above}\n4:cpuacct:{above}\n2:memory:{own}\n0::{above}\n");
    let found = read(&mut open_v1(&top, &cgroup).unwrap());
    assert_eq!(found.cpu.own(), None);
    assert_eq!(
        found.cpu.at(1).map(|cpu| (cpu.usage_ns, cpu.quota)),
        Some((Some(9_000_000), quota(200_000)))
    );
    assert_eq!(found.memory.own().map(|memory| memory.usage), Some(900));
    assert_eq!(found.pressure, Pressure::default());

    let cgroup = format!("5:cpu:{own}\n4:cpuacct:{above}\n2:memory:/\n0::{own}\n");
    let found = read(&mut open_v1(&top, &cgroup).unwrap());
    assert_eq!(found.cpu.own().map(|cpu| (cpu.usage_ns, cpu.quota)), Some((None, quota(25_000))));
    assert_eq!((found.memory.own(), found.oom_kills), (None, None));
    assert_eq!(found.pressure.cpu_us, Some(11));
}

#[test]
fn a_quota_of_v1_is_two_numbers() {
    #[rustfmt::skip]
    let table = [
        ("25000\n", "100000\n", quota(25_000)),
        ("-1\n",    "100000\n", None),
        ("-2\n",    "100000\n", None),
        ("0\n",     "100000\n", None),
        ("25000\n", "0\n",      None),
        ("25000\n", "",          None),
        ("",         "100000\n", None),
        ("max\n",   "100000\n", None),
    ];
    for (text, period, expected) in table {
        let top = tree(&[("cpu/a/cpu.cfs_quota_us", text), ("cpu/a/cpu.cfs_period_us", period)]);
        let found = read(&mut open_v1(&top, "1:cpu:/a\n").unwrap());
        assert_eq!(found.cpu.own().unwrap().quota, expected, "{text}{period}");
    }
}

#[test]
fn limits_are_looked_at_again_when_asked_to_and_now_and_then() {
    for asked in [true, false] {
        let top = tree(&POD);
        let mut cgroup = open_v2(&top, "/pod/web").unwrap();
        read(&mut cgroup);
        add(top.path(), &[("pod/web/cpu.max", "75000 100000\n"), ("pod/cpu.max", "max 100000\n")]);
        let mut readings = 1;
        if asked {
            cgroup.refresh();
        }
        while read(&mut cgroup).cpu.own().unwrap().quota != quota(75_000) {
            readings += 1;
            assert!(readings <= 61, "not seen after {readings} readings");
        }
        assert!(!asked || readings == 1, "seen after {readings} readings");
        assert_eq!(read(&mut cgroup).cpu.at(1), None);
    }
}

#[test]
fn cache_is_looked_at_near_the_limit() {
    let unlimited = (HOST.memory / 10 * 9).to_string();
    #[rustfmt::skip]
    let table = [
        ("near it",            "1000\n", "900\n",     500),
        ("at three quarters",  "1000\n", "750\n",     500),
        ("far from it",        "1000\n", "700\n",     300),
        ("no limit, near all", "max\n",  &unlimited,  500),
        ("no limit",           "max\n",  "900\n",     300),
    ];
    for (name, limit, usage, expected) in table {
        let top = tree(&POD);
        add(top.path(), &[("pod/web/memory.max", limit), ("pod/web/memory.current", usage)]);
        let mut cgroup = open_v2(&top, "/pod/web").unwrap();
        // Written in place, as the kernel changes what an open file shows.
        add(top.path(), &[("pod/web/memory.stat", "inactive_file 500\n")]);
        cgroup.later();
        let found = read(&mut cgroup);
        assert_eq!(found.memory.own().unwrap().inactive_file, expected, "{name}");
    }
}

#[test]
fn a_cgroup_that_went_away_is_gone_until_it_is_back() {
    let top = tree(&POD);
    let mut cgroup = open_v2(&top, "/pod/web").unwrap();
    let before = read(&mut cgroup);
    fs::rename(top.path().join("pod"), top.path().join("old")).unwrap();
    cgroup.refresh();
    for _ in 0..3 {
        let gone = cgroup.read(&mut Scratch::default());
        assert!(matches!(gone, Err(CgroupError::Gone(_))), "{gone:?}");
    }
    add(top.path(), &POD);
    let after = read(&mut cgroup);
    assert_ne!(before.identity, after.identity);
    assert_eq!(Reading { identity: before.identity, ..after }, before);
}

#[test]
fn what_cannot_be_found_says_so() {
    let top = tree(&POD);
    let error = open_v2(&top, "/pod/none").unwrap_err().to_string();
    assert_eq!(error, format!("there is no cgroup {}", top.path().join("pod/none").display()));
    let error = open_v2(&top, "/../pod").unwrap_err();
    assert!(matches!(error, CgroupError::Locate(LocateError::Outside(_))), "{error}");
    let mut scratch = Scratch::default();
    // Greater than any that the kernel gives out.
    let error = Cgroup::of_process(u32::MAX, HOST, &mut scratch).unwrap_err().to_string();
    assert_eq!(error, "there is no process 4294967295");
    let error = Cgroup::of_path(Path::new("relative"), HOST, &mut scratch).unwrap_err();
    assert!(error.to_string().contains("relative"), "{error}");
}

#[test]
fn no_more_levels_and_devices_than_fit() {
    let top = tree(&[("a/a/a/a/a/a/cpu.stat", "usage_usec 1\n")]);
    for depth in 0..=6 {
        let at = ["a"].repeat(depth).join("/");
        add(&top.path().join(at), &[("cpu.max", "100000 100000\n")]);
    }
    let limits = ["0", "1", "2", "3", "4", "5"].map(|minor| format!("8:{minor} rbps=5\n")).concat();
    let stat = limits.replace("rbps", "rbytes");
    add(&top.path().join("a/a/a/a/a/a"), &[("io.max", &limits), ("io.stat", &stat)]);
    add(&top.path().join("a"), &[("io.max", &limits), ("io.stat", &stat)]);
    let found = read(&mut open_v2(&top, "/a/a/a/a/a/a").unwrap());
    assert_eq!(found.cpu.iter().map(|level| level.depth).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let devices: Vec<_> = found.io_limited.iter().flatten().map(|it| it.device.minor).collect();
    assert_eq!(devices, [0, 1, 2, 3]);
    assert!(found.io_limited.iter().flatten().all(|it| it.depth == 0 && it.counts.read_bytes == 5));
}
