//! curl and nginx: many requests, large bodies, and whoever fills the checksums in.

use std::collections::BTreeMap;

use lb_userspace::{
    lab::{BRIDGE, CLIENT_LINK, DOWNLINK, LabPlan, Netns, Topology, UPLINK, vip_v4, vip_v6},
    model::{Attach, Policy},
};

use super::{
    site::{Site, noise, sha256},
    world::plan,
};

/// The hooks before containers of the host and before machines. Containers' own links have TC in
/// any case.
const HOOKS: [(Attach, Topology); 6] = [
    (Attach::Tc, Topology::Bridge),
    (Attach::Tc, Topology::Remote),
    (Attach::Xdp, Topology::Bridge),
    (Attach::Xdp, Topology::Remote),
    (Attach::XdpGeneric, Topology::Bridge),
    (Attach::XdpGeneric, Topology::Remote),
];

/// The services by family, as a URL writes them.
fn hosts() -> [String; 2] {
    [vip_v4(1).to_string(), format!("[{}]", vip_v6(1))]
}

fn site(attach: Attach, plan: LabPlan) -> Site {
    Site::new(plan, attach, Policy::RoundRobin, |_| {})
}

/// Downloads and uploads a body over both families and compares it with what it should be.
fn bodies_agree(site: &Site, length: usize, case: &str) {
    site.publish("large", &noise(length));
    let original = sha256(&site.published(0, "large"));
    let (arrived, source) = (site.files.path().join("arrived"), site.published(0, "large"));
    for (family, host) in hosts().iter().enumerate() {
        let url = format!("http://{host}/large");
        let down =
            site.curl(&["-f", "--connect-timeout", "5", "-o", arrived.to_str().unwrap(), &url]);
        assert!(down.status.success(), "{case}: {url}: {down:?}");
        assert_eq!(sha256(&arrived), original, "{case}: {url}");
        std::fs::remove_file(&arrived).unwrap();
        let name = format!("upload-{family}");
        let url = format!("http://{host}/{name}");
        let form = "%{http_code} %header{x-backend}";
        let up = site.curl(&["-f", "-T", source.to_str().unwrap(), "-w", form, &url]);
        let said = String::from_utf8_lossy(&up.stdout).into_owned();
        let taker = ["201 b1", "201 b2", "201 b3"].iter().position(|answer| *answer == said);
        let taken = site.published(taker.unwrap_or_else(|| panic!("{case}: {up:?}")), &name);
        assert_eq!(sha256(&taken), original, "{case}: {url}");
        std::fs::remove_file(&taken).unwrap();
    }
}

#[test]
fn nginx_answers_every_request_of_curl_and_serves_large_bodies_whole() {
    const REQUESTS: usize = 300;
    for (attach, topology) in HOOKS {
        let case = format!("{attach:?} {topology:?}");
        let site = site(attach, plan(topology));
        for host in hosts() {
            // One run of curl, eight connections at a time, a fresh one each request.
            let url = format!("http://{host}/?[1-{REQUESTS}]");
            let form = "\\n%{http_code} %header{x-backend} %{num_connects}\\n";
            let fresh = ["-Z", "--parallel-max", "8", "-H", "Connection: close", "-w", form, &url];
            let output = site.curl(&fresh);
            assert!(output.status.success(), "{case}: {output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
            for line in text.lines().filter(|line| line.contains(' ')) {
                *answers.entry(line).or_default() += 1;
            }
            // Round-robin is exact, and the connections are counted where they are made.
            let third = REQUESTS / 3;
            let expected = ["200 b1 1", "200 b2 1", "200 b3 1"].map(|line| (line, third));
            assert_eq!(answers, BTreeMap::from(expected), "{case}: {host}");
        }
        bodies_agree(&site, 50_000_000, &case);
    }
}

/// Who leaves checksums to the link.
#[derive(Clone, Copy, Debug)]
struct Offloads {
    client: bool,
    balancer: bool,
    backends: bool,
}

/// Runs `ethtool -K <link> tx on|off` and sees to it that the link obeyed.
fn switch_tx(netns: &Netns, link: &str, on: bool) {
    let ethtool = |arguments: [&str; 2], rest: &[&str]| {
        let output = netns.command("ethtool").args(arguments).args(rest).output().unwrap();
        assert!(output.status.success(), "{link}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let state = if on { "on" } else { "off" };
    ethtool(["-K", link], &["tx", state]);
    let features = ethtool(["-k", link], &[]);
    let line = features.lines().find(|line| line.starts_with("tx-checksumming:")).unwrap();
    assert_eq!(line, format!("tx-checksumming: {state}"), "{link}");
}

/// Switches all links of a laboratory that end at one of its stacks.
fn switch_all(site: &Site, topology: Topology, offloads: Offloads) {
    let lab = &site.world.lab;
    switch_tx(lab.client(), CLIENT_LINK, offloads.client);
    for backend in lab.backends() {
        switch_tx(&backend.netns, "eth0", offloads.backends);
    }
    switch_tx(lab.lb(), UPLINK, offloads.balancer);
    match topology {
        Topology::Bridge => {
            for backend in lab.backends() {
                switch_tx(lab.lb(), &backend.host_link, offloads.balancer);
            }
            switch_tx(lab.lb(), BRIDGE, offloads.balancer);
        }
        Topology::Remote => switch_tx(lab.lb(), DOWNLINK, offloads.balancer),
        Topology::Routed => panic!("no case has routed links"),
    }
}

#[test]
fn bodies_agree_whoever_fills_the_checksums_in() {
    for (attach, topology) in HOOKS {
        let site = site(attach, plan(topology));
        for bits in 0..8_u8 {
            let [client, balancer, backends] = [1, 2, 4].map(|bit| bits & bit != 0);
            // XDP takes frames as a network card delivers them: complete, and no longer than the
            // link allows. A client's veth that leaves checksums and segments to its other end is
            // no such card: driver XDP hands on a wrong checksum, and the kernel refuses to
            // redirect the long frames of generic XDP. The frames of backends come through TC, or
            // their switch has completed them.
            if client && attach != Attach::Tc {
                continue;
            }
            let offloads = Offloads { client, balancer, backends };
            switch_all(&site, topology, offloads);
            bodies_agree(&site, 2_000_000, &format!("{attach:?} {topology:?} {offloads:?}"));
        }
    }
}
