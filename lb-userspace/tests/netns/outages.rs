//! nginx killed, drained and brought back while clients call.

use std::{collections::BTreeSet, process::Command, time::Duration};

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, BackendState},
    },
    lab::{CLIENT_V4, CLIENT_V6, Netns, Topology},
    model::{AllDown, Attach, HealthCheck, Policy, Probe},
};

use super::{
    crowd::{Call, Crowd},
    site::Site,
    world::{BACKEND_PORT, eventually, plan},
};

/// Lets a namespace keep a set of the ports from which the client has called.
fn watch_callers(netns: &Netns) {
    let set = "add set inet callers ports { type inet_service; size 65535; flags dynamic; }";
    let chain = "add chain inet callers in { type filter hook input priority 0; }";
    let rule = |source: &str| {
        format!(
            "add rule inet callers in {source} tcp dport {BACKEND_PORT} add @ports {{ tcp sport }}"
        )
    };
    let rules = [
        "add table inet callers".to_owned(),
        set.to_owned(),
        chain.to_owned(),
        rule(&format!("ip saddr {CLIENT_V4}")),
        rule(&format!("ip6 saddr {CLIENT_V6}")),
    ];
    let output = netns.command("nft").arg(rules.join("; ")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn callers(netns: &Netns) -> BTreeSet<u16> {
    let list = ["-j", "list", "set", "inet", "callers", "ports"];
    let output = netns.command("nft").args(list).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ports = report.pointer("/nftables/1/set/elem").unwrap().as_array().unwrap();
    ports.iter().map(|port| u16::try_from(port.as_u64().unwrap()).unwrap()).collect()
}

/// Waits until both addresses of the first backend are in a state.
fn first_backend_is(site: &Site, state: BackendState) {
    let backend = &site.world.lab.backends()[0];
    let own = [backend.v4.to_string(), backend.v6.to_string()];
    eventually(&format!("b1 is {}", state.name()), || {
        let backends: Vec<BackendReport> = site.world.ask(&Request::Backends);
        let mine = |one: &&BackendReport| own.iter().any(|own| one.endpoint.contains(own.as_str()));
        let mut of_first = backends.iter().filter(mine);
        of_first.clone().count() == 2 && of_first.all(|one| one.state == state)
    });
}

fn answers(calls: &[Call], of: impl Fn(&Call) -> bool, name: &str) -> usize {
    let mine = |call: &&Call| call.answer.as_deref() == Ok(name) && of(call);
    calls.iter().filter(mine).count()
}

#[test]
fn a_killed_backend_takes_its_own_connections_with_it_and_no_others() {
    const BEFORE: u8 = 0;
    const KILLED: u8 = 1;
    const OUT: u8 = 2;
    const STARTED: u8 = 3;
    const BACK: u8 = 4;
    let change = |config: &mut lb_userspace::model::Config| {
        config.services[0].health = Some(HealthCheck {
            probe: Probe::Http { path: "/".to_owned() },
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 2,
            port: None,
            all_down: AllDown::Try,
        });
    };
    let mut site = Site::new(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, change);
    // The health check may have met the moment between the built-in servers and nginx.
    eventually("all are up", || {
        let backends: Vec<BackendReport> = site.world.ask(&Request::Backends);
        backends.iter().all(|backend| backend.state == BackendState::Up)
    });
    watch_callers(&site.world.lab.backends()[0].netns);
    let crowd = Crowd::start(site.world.lab.client());
    crowd.wait_for(500);
    crowd.enter(KILLED);
    site.servers[0] = None;
    first_backend_is(&site, BackendState::Down);
    crowd.enter(OUT);
    crowd.wait_for(1000);
    crowd.enter(STARTED);
    site.start(0);
    first_backend_is(&site, BackendState::Up);
    crowd.enter(BACK);
    crowd.wait_for(1000);
    let calls = crowd.finish();

    let of_first = callers(&site.world.lab.backends()[0].netns);
    for call in calls.iter().filter(|call| call.answer.is_err()) {
        assert!(call.phase <= KILLED, "after the health check: {call:?}");
        // A port has one connection, and a connection one backend.
        assert!(of_first.contains(&call.port), "not of b1: {call:?}");
    }
    let broken = |call: &&Call| !call.fresh && call.answer.is_err();
    // 12 connections were kept, 4 a backend.
    assert_eq!(calls.iter().filter(broken).count(), 4, "b1's kept connections broke");
    for phase in [BEFORE, KILLED, OUT, STARTED, BACK] {
        for name in ["b2", "b3"] {
            assert!(answers(&calls, |call| call.phase == phase, name) > 0, "{name} {phase}");
        }
    }
    assert_eq!(answers(&calls, |call| call.phase == OUT, "b1"), 0);
    assert!(answers(&calls, |call| call.phase == BACK && call.fresh, "b1") > 0);
}

#[test]
fn draining_costs_no_request_and_keeps_new_connections_away() {
    const BEFORE: u8 = 0;
    const DRAINING: u8 = 1;
    const DRAINED: u8 = 2;
    const UNDRAINING: u8 = 3;
    const BACK: u8 = 4;
    for (attach, topology) in [(Attach::Tc, Topology::Bridge), (Attach::Xdp, Topology::Remote)] {
        let site = Site::new(plan(topology), attach, Policy::RoundRobin, |_| {});
        let first = &site.world.lab.backends()[0];
        let names =
            [format!("{}:{BACKEND_PORT}", first.v4), format!("[{}]:{BACKEND_PORT}", first.v6)];
        let weir = |verb: &str| {
            for name in &names {
                let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
                command.args([verb, name, "--socket"]).arg(&site.world.config.admin.socket);
                let output = command.output().unwrap();
                assert!(output.status.success(), "{verb} {name}: {output:?}");
            }
        };
        let crowd = Crowd::start(site.world.lab.client());
        crowd.wait_for(500);
        crowd.enter(DRAINING);
        weir("drain");
        crowd.enter(DRAINED);
        crowd.wait_for(1000);
        crowd.enter(UNDRAINING);
        weir("undrain");
        crowd.enter(BACK);
        crowd.wait_for(1000);
        let calls = crowd.finish();

        let failed: Vec<&Call> = calls.iter().filter(|call| call.answer.is_err()).collect();
        assert!(failed.is_empty(), "{attach:?}: {failed:?}");
        for (phase, fresh, expected) in [
            (BEFORE, true, true),
            (BEFORE, false, true),
            (DRAINED, true, false),
            // What it had it keeps.
            (DRAINED, false, true),
            (BACK, true, true),
            (BACK, false, true),
        ] {
            let of = |call: &Call| call.phase == phase && call.fresh == fresh;
            let some = answers(&calls, of, "b1") > 0;
            assert_eq!(some, expected, "{attach:?}: phase {phase}, fresh {fresh}");
        }
    }
}
