//! Backends that are plain processes of the balancer's host: what their cgroups show.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, Explanation, LoadReport, ServiceReport},
    },
    lab::Topology,
    model::{Attach, BackendSpec, Endpoint, Policy, Protocol},
};

use super::world::{World, eventually, plan};

const NAME: &str = "weirtest-netns";

/// A cgroup for CPU time, which need not exist yet.
struct Cpu(Vec<PathBuf>);

impl Cpu {
    fn new(name: &str) -> Self {
        let top = Path::new("/sys/fs/cgroup");
        let v1 = ["cpu", "cpuacct", "memory", "blkio"].map(|hierarchy| top.join(hierarchy));
        let mut tops = if v1[0].is_dir() { v1.to_vec() } else { vec![top.to_path_buf()] };
        tops.retain(|top| top.is_dir());
        let name = format!("{NAME}-{}-{name}", std::process::id());
        Self(tops.into_iter().map(|top| top.join(&name)).collect())
    }

    fn path(&self) -> &Path {
        &self.0[0]
    }

    fn make(&self) {
        for directory in &self.0 {
            // In v1 two controllers may be one hierarchy.
            fs::create_dir_all(directory).unwrap();
        }
    }

    /// A process in it that takes all that it gets, for 20 seconds of CPU time at most.
    fn burn(&self, quota_us: u64) -> Child {
        let v1 = self.path().join("cpu.cfs_quota_us");
        if v1.exists() {
            fs::write(v1, quota_us.to_string()).unwrap();
        } else {
            fs::write(self.path().join("cpu.max"), format!("{quota_us} 100000")).unwrap();
        }
        let mut command = Command::new("sh");
        command.args(["-c", "read go; ulimit -t 20; while :; do :; done"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        for directory in &self.0 {
            fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        for directory in &self.0 {
            for _ in 0..100 {
                if fs::remove_dir(directory).is_ok() || !directory.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

/// A world whose first backend has processes in that cgroup, by its address of either family.
fn world(cgroup: &Path) -> World {
    World::with(plan(Topology::Bridge), Attach::Tc, Policy::Adaptive, |config| {
        for backend in &mut config.services[0].backends[..2] {
            backend.cgroup = Some(cgroup.into());
        }
    })
}

fn load(world: &World) -> LoadReport {
    let services: Vec<ServiceReport> = world.ask(&Request::Services);
    services[0].backends[0].load.clone().unwrap()
}

fn explained(world: &World) -> String {
    let request = Request::Explain {
        protocol: Protocol::Tcp,
        source: "198.18.0.2:41000".parse().unwrap(),
        destination: World::vips()[0],
    };
    world.ask::<Explanation>(&request).candidates[0].load.clone()
}

#[test]
fn a_cgroup_of_plain_processes_is_read_while_it_is_there() {
    let cgroup = Cpu::new("web");
    let world = world(cgroup.path());
    let missing = format!("there is no cgroup {}", cgroup.path().display());
    let is_missing = || {
        let backends: Vec<BackendReport> = world.ask(&Request::Backends);
        let troubles: Vec<_> = backends.iter().map(|it| it.no_figures.as_str()).collect();
        let others = troubles.iter().filter(|why| why.is_empty()).count();
        troubles.contains(&missing.as_str()) && others == troubles.len() - 2
    };
    eventually("the cgroup is missing", is_missing);
    let says = format!("no figures of its host: {missing}");
    assert!(load(&world).text.ends_with(&says), "{}", load(&world).text);
    assert!(explained(&world).ends_with(&says), "{}", explained(&world));
    for _ in 0..2 {
        cgroup.make();
        let mut burner = cgroup.burn(10_000);
        eventually("the cgroup is seen", || !load(&world).text.contains("no figures"));
        assert!(!is_missing());
        eventually("it is busy", || {
            let load = load(&world);
            load.text.starts_with("cpu at ") && load.utilisation > 0.8
        });
        burner.kill().unwrap();
        burner.wait().unwrap();
        for directory in &cgroup.0 {
            fs::remove_dir(directory).ok();
        }
        eventually("it is missing again", is_missing);
        assert!(explained(&world).ends_with(&says), "{}", explained(&world));
    }
    // What was read last is held for a while; then the dataplane's own figures have to do.
    assert!(load(&world).text.starts_with("cpu at "), "{}", load(&world).text);
    eventually("it is forgotten", || load(&world).text.starts_with("0 % busy by its turns"));
    assert!(load(&world).utilisation < 0.1);
}

/// What a round of the daemon takes, by its own figures.
fn round_ms(world: &World) -> [f64; 2] {
    let metrics = ["-sS", "http://127.0.0.1:9090/metrics"];
    let output = world.lab.lb().command("curl").args(metrics).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    ["load", "all"].map(|part| {
        let name = format!("weir_round_seconds{{part=\"{part}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{text}")).parse::<f64>().unwrap() * 1e3
    })
}

/// Prints what a second costs: with `--nocapture`, and `--release` for what users have.
#[test]
fn five_hundred_backends_with_cgroups_are_followed() {
    const COUNT: u16 = 500;
    let cgroups: Vec<Cpu> = (0..COUNT).map(|index| Cpu::new(&format!("many-{index}"))).collect();
    for cgroup in &cgroups {
        cgroup.make();
    }
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::Adaptive, |config| {
        config.admin.http = Some("127.0.0.1:9090".parse().unwrap());
        let backends = &mut config.services[0].backends;
        let first = backends[0].clone();
        backends.extend((0..COUNT).zip(&cgroups).map(|(index, cgroup)| BackendSpec {
            endpoint: Endpoint { port: 10_000 + index, ..first.endpoint },
            cgroup: Some(cgroup.path().into()),
            ..first.clone()
        }));
    });
    let backends = || world.ask::<Vec<BackendReport>>(&Request::Backends);
    let known =
        |it: &&BackendReport| it.load.as_ref().is_some_and(|load| load.text.starts_with("cpu at "));
    let count = usize::from(COUNT);
    eventually("all are read", || backends().iter().filter(known).count() == count);
    assert!(backends().iter().all(|it| it.no_figures.is_empty()));
    let mut rounds = Vec::new();
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_secs(1));
        rounds.push(round_ms(&world));
    }
    rounds.sort_by(|a, b| a[1].total_cmp(&b[1]));
    let ([load, all], [_, most]) = (rounds[4], rounds[7]);
    println!(
        "{COUNT} backends: a round of {all:.1} ms (median of 8, most {most:.1}), of it {load:.1} \
         for live load"
    );
}
