//! Ten thousand flows through a change of the configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lb_userspace::{
    admin::{
        Request,
        report::{FlowsReport, StatusReport},
    },
    daemon::{self, background::Background},
    lab::Topology,
    model::{Attach, Policy},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    crowd::Connection,
    site::Site,
    world::{World, eventually, plan},
};

/// Of each family.
const FLOWS: u16 = 5_000;
const FIRST_PORT: u16 = 20_000;

/// The same daemon, but one that follows a file.
fn follow_a_file(site: &mut Site) -> PathBuf {
    site.world.daemon.take().unwrap().finish().unwrap();
    let file = site.files.path().join("weir.yaml");
    fs::write(&file, "").unwrap();
    let config = site.world.config.clone();
    let options = daemon::Options { config, file: Some(file.clone()), bpffs: None };
    site.world.daemon = Some(Background::start(site.world.lab.lb(), options).unwrap());
    file
}

/// Gives the backends other weights and waits until they are in force.
fn reload(site: &Site, file: &Path, weights: &[u16]) {
    let lines = site.world.lab.backends().iter().zip(weights).flat_map(|(backend, weight)| {
        [backend.v4.to_string(), format!("[{}]", backend.v6)]
            .map(|address| format!("      - {{ address: \"{address}:8080\", weight: {weight} }}\n"))
    });
    let text = format!(
        "interfaces: [up0]\nattach: tc\nhost-clients: off\nlimits: {{ conns: {} }}\nservices:\n  - name: web\n    \
         listen: [\"198.18.1.1:80\", \"[fd00:18:1::1]:80\"]\n    policy: maglev\n    \
         backends:\n{}admin: {{ socket: {}, http: false }}\n",
        site.world.config.limits.conns,
        lines.collect::<String>(),
        site.world.config.admin.socket.display(),
    );
    let status = || -> StatusReport { site.world.ask(&Request::Status) };
    let generation = status().generation;
    // As editors do: a new file takes the old one's place.
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
    eventually("the change is in force", || {
        let status = status();
        assert_eq!(status.last_reload.error, None);
        status.generation > generation
    });
}

/// So many connections to each VIP.
fn open_from(site: &Site, first: u16, count: u16) -> Vec<Connection> {
    let vips = World::vips();
    let connect = || {
        let ports = first..first + count;
        ports.flat_map(|port| vips.iter().map(move |vip| Connection::open(*vip, port))).collect()
    };
    let opened: io::Result<Vec<Connection>> = site.world.lab.client().in_netns(connect).unwrap();
    opened.unwrap()
}

/// Every connection asks once more: who answers, in their order.
fn ask_all(connections: &mut [Connection], when: &str) -> Vec<String> {
    let ask = |(n, connection): (usize, &mut Connection)| {
        connection.ask(true).unwrap_or_else(|error| panic!("{when}, flow {n}: {error}"))
    };
    connections.iter_mut().enumerate().map(ask).collect()
}

#[test]
fn ten_thousand_flows_keep_their_backends_when_the_configuration_changes() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut site = Site::new(plan(Topology::Bridge), Attach::Tc, Policy::Maglev, |_| {});
    let file = follow_a_file(&mut site);
    let mut connections = open_from(&site, FIRST_PORT, FLOWS);
    let before = ask_all(&mut connections, "before");
    let held: FlowsReport = site.world.ask(&Request::Flows { limit: 1, service: None });
    assert_eq!(held.total, 2 * u64::from(FLOWS));
    for name in ["b1", "b2", "b3"] {
        assert!(before.iter().any(|answer| answer == name), "{name} has no flow");
    }
    // The weights were 4, 2 and 1: most slots of the table change their backend.
    reload(&site, &file, &[0, 1, 9]);
    assert!(ask_all(&mut connections, "after") == before, "a flow has changed its backend");
    // Who calls from here on is sent elsewhere.
    let mut fresh = open_from(&site, FIRST_PORT + FLOWS, 100);
    let answers = ask_all(&mut fresh, "fresh");
    assert!(!answers.iter().any(|answer| answer == "b1"), "b1 has no weight");
    drop((connections, fresh));
    eventually("all flows have ended", || {
        let status: StatusReport = site.world.ask(&Request::Status);
        status.flows == 0
    });
}

#[test]
fn flows_of_a_removed_backend_go_on_until_they_are_drained() {
    let mut site = Site::new(plan(Topology::Bridge), Attach::Tc, Policy::Maglev, |_| {});
    let file = follow_a_file(&mut site);
    let mut connections = open_from(&site, FIRST_PORT, 50);
    let before = ask_all(&mut connections, "before");
    assert!(before.iter().any(|answer| answer == "b3"), "{before:?}");
    // The third has left. Its flows have the five minutes that `drain` is unless it is set.
    reload(&site, &file, &[1, 1]);
    assert_eq!(ask_all(&mut connections, "after"), before);
    let answers = ask_all(&mut open_from(&site, FIRST_PORT + FLOWS, 50), "fresh");
    assert!(!answers.iter().any(|answer| answer == "b3"), "{answers:?}");
}
