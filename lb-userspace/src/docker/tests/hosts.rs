//! Containers of other hosts.

use std::collections::BTreeSet;

use super::{Row, made};
use crate::{
    docker::{Inspected, Making, Rooms},
    model::{DockerHost, Reach},
};

/// A service of the file that chooses containers.
const CHOOSES: &str = "  - name: web
    listen: [198.18.0.1:80]
    docker: { label: app=web, port: 8080 }
";

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "at the port that is published at the address of the host",
        CHOOSES,
        &[
            "a net=bridge:198.18.128.2 app=web",
            "b net=bridge:198.18.128.2 app=web open=0.0.0.0+32768:8080 open=127.0.0.1+1:8080 home=east@198.18.5.2",
            "c net=bridge:198.18.128.3 app=web open=198.18.5.2+32769:8080 home=east@198.18.5.2",
            "d mode=host app=web weir.port=9090 home=east@198.18.5.2",
        ],
        &[
            "a: published",
            "east/b: published",
            "east/c: published",
            "east/d: published",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.2:8080*1 198.18.5.2:32768*1 198.18.5.2:32769*1 198.18.5.2:9090*1",
        ],
    ),
    (
        "at no port that leads elsewhere",
        CHOOSES,
        &[
            "a net=bridge:198.18.128.2 app=web home=east@198.18.5.2",
            "b net=bridge:198.18.128.2 app=web open=127.0.0.1+32768:8080 home=east@198.18.5.2",
            "c net=bridge:198.18.128.2 app=web open=0.0.0.0+32768:8080/udp home=east@198.18.5.2",
            "d net=bridge:198.18.128.2 app=web open=::+32768:8080 home=east@198.18.5.2",
            "e mode=none app=web home=east@198.18.5.2",
        ],
        &[
            "east/a: refused, its port 8080/tcp is not published at 198.18.5.2, the address of its host: run it with -p 8080",
            "east/b: refused, its port 8080/tcp is not published at 198.18.5.2, the address of its host: run it with -p 8080",
            "east/c: refused, its port 8080/tcp is not published at 198.18.5.2, the address of its host: run it with -p 8080",
            "east/d: refused, its port 8080/tcp is not published at 198.18.5.2, the address of its host: run it with -p 8080",
            "east/e: refused, network mode none: it cannot be reached",
            "web at 198.18.0.1:80/tcp adaptive -> ",
        ],
    ),
    (
        "at their own addresses where these are routed to",
        CHOOSES,
        &[
            "a net=bridge:198.18.128.2 app=web",
            "b net=bridge:198.18.129.2 app=web home=east",
            "c net=bridge:198.18.128.2 app=web home=east",
            "d mode=host app=web home=east",
        ],
        &[
            "a: published",
            "east/b: published",
            "east/c: refused, 198.18.128.2:8080 is a backend already: container a",
            "east/d: refused, network mode host on host east, whose containers are reached at their own addresses: it has none",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.2:8080*1 198.18.129.2:8080*1",
        ],
    ),
    (
        "a port of another host is no door of this one",
        "",
        &[
            "a net=bridge:198.18.128.2 -p=80:80 open=0.0.0.0+80:80 weir.enable=true home=east@198.18.5.2",
            "b net=bridge:198.18.128.3 open=0.0.0.0+81:80 weir.enable=true weir.publish=90:80 home=east@198.18.5.2",
        ],
        &[
            "east/a: refused, where does service a listen? it is not in the configuration, and none of its containers has weir.listen, weir.publish or a port of Docker's -p",
            "east/b: published",
            "b at 127.0.0.1:90/tcp 198.18.0.1:90/tcp adaptive -> 198.18.5.2:81*1",
        ],
    ),
    (
        "a stack is shared on one host only, and a range has no published ports",
        "  - name: web
    listen: [198.18.0.1:1000-2000]
    docker: { label: app=web }
",
        &[
            "a net=bridge:198.18.128.2 expose=80 open=0.0.0.0+32768:80 home=east@198.18.5.2",
            "b mode=container:a weir.enable=true weir.port=80 weir.listen=198.18.0.2:80 home=east@198.18.5.2",
            "c mode=container:a weir.enable=true weir.port=80 weir.listen=198.18.0.3:80 home=west@198.18.5.3",
            "d net=bridge:198.18.128.2 app=web home=east@198.18.5.2",
        ],
        &[
            "east/a: ignored, it has no label weir.enable=true, and no service chooses it",
            "east/b: published",
            "east/d: refused, a service of port ranges keeps the port that was dialled, and it is reached at published ports of 198.18.5.2: `reach: routed` of its host",
            "west/c: refused, it shares the network of container a, which does not run",
            "web at 198.18.0.1:1000-2000/tcp adaptive -> ",
            "b at 198.18.0.2:80/tcp adaptive -> 198.18.5.2:32768*1",
        ],
    ),
];

/// `name cores zone label=value`, the first one this host.
fn hosts(lines: &[&str]) -> Vec<(DockerHost, [u64; 4])> {
    let host = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let label = words[3].split_once('=').unwrap();
        let host = DockerHost {
            name: words[0].to_owned(),
            reach: Some(Reach::Routed),
            zone: Some(words[2].to_owned()),
            labels: [(label.0.to_owned(), label.1.to_owned())].into(),
            ..DockerHost::here("/run/docker.sock".into())
        };
        (host, [words[1].parse::<u64>().unwrap() * 1000, 1 << 30, 0, 0])
    };
    let mut hosts: Vec<_> = lines.iter().map(host).collect();
    hosts[0].0.reach = None;
    hosts
}

/// The rooms of hosts with containers, all of whose names begin with their services.
fn with_rooms<T>(
    lines: &[&str],
    containers: &[Inspected],
    look: impl FnOnce(&Rooms<'_>) -> T,
) -> T {
    let hosts = hosts(lines);
    let service = |one: &Inspected| one.name.split('-').next().unwrap().to_owned();
    let rooms = Rooms {
        hosts: hosts.iter().map(|(host, has)| (host, *has)).collect(),
        containers,
        services: containers.iter().map(|one| (one.id.clone(), service(one))).collect(),
    };
    look(&rooms)
}

const TWO: &[&str] = &["here 2 a disk=slow", "east 2 b disk=fast"];
const THREE: &[&str] = &["here 2 a disk=slow", "east 2 b disk=fast", "west 4 b disk=fast"];

/// Description, hosts, containers with the template first, hosts of what is being made, answer.
type Choice<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str], &'a str);
/// Description, containers, who leaves already, how many more shall, who does.
type Leaving<'a> = (&'a str, &'a [&'a str], &'a [&'a str], usize, &'a [&'a str]);

#[test]
fn a_replica_goes_where_it_leaves_the_hosts_best_balanced() {
    #[rustfmt::skip]
    let table: &[Choice<'_>] = &[
        ("nothing is known of needs: by number", TWO,
            &["web-1"], &[], "east"),
        ("and what is being made counts", TWO,
            &["web-1"], &["east"], "here"),
        ("the host with more left", THREE,
            &["web-1 cpu=1000", "db-1 cpu=1000 home=east"], &[], "west"),
        ("what does not run takes nothing", TWO,
            &["web-1 cpu=600", "db-1 cpu=900 state=exited home=east"], &[], "east"),
        ("a replica that is about to run does", TWO,
            &["web-1 cpu=1100", "web-2 cpu=1100 state=created io.weir.replica-of=web home=east"], &[],
            "no host for a replica: no node is left: 2 too little cpu"),
        ("larger than any host", TWO,
            &["web-1 cpu=3000"], &[], "no host for a replica: it needs 3 cpu, the largest node has 2"),
        ("labels say what it needs", TWO,
            &["web-1 cpu=3000 weir.place.cpu=200m"], &[], "east"),
        ("of memory, too", TWO,
            &["web-1 weir.place.memory=600Mi"], &["east"],
            "no host for a replica: no node is left: 2 too little memory"),
        ("the label of a host", TWO,
            &["web-1 weir.place.select=disk=slow"], &[], "here"),
        ("which no host has", TWO,
            &["web-1 weir.place.select=disk=none"], &[],
            "no host for a replica: no node has the labels it selects"),
        ("away from another service", TWO,
            &["web-1 weir.place.avoid=db,nobody", "db-1 home=east"], &[], "here"),
        ("which avoids this one itself", TWO,
            &["web-1", "db-1 weir.place.avoid=web home=east"], &[], "here"),
        ("one replica a host", TWO,
            &["web-1 weir.place.avoid=web", "web-2 home=east"], &[],
            "no host for a replica: no node is left: 2 with replicas it avoids"),
        ("evenly over zones", THREE,
            &["web-1 weir.place.spread=1", "web-2 home=east", "web-3 home=west"], &[], "here"),
        ("a host that has more than it can take stays as it is", TWO,
            &["web-1 cpu=100", "db-1 cpu=9000"], &[], "east"),
        ("nobody can be asked", &[],
            &["web-1"], &[], "no host has an engine that answers"),
    ];
    for (description, lines, containers, making, expected) in table {
        let containers = made(containers);
        let making: Vec<Making> =
            making.iter().map(|host| Making { host: (*host).to_owned() }).collect();
        let choose = |rooms: &Rooms<'_>| {
            let chosen = rooms.choose("web", &containers[0], &making);
            chosen.map_or_else(|error| error.to_string(), |host| host.name.clone())
        };
        let found = if lines.is_empty() {
            choose(&Rooms { hosts: vec![], containers: &containers, services: <_>::default() })
        } else {
            with_rooms(lines, &containers, choose)
        };
        assert_eq!(found, *expected, "{description}");
    }
}

#[test]
fn those_leave_whose_absence_keeps_the_rest_balanced() {
    #[rustfmt::skip]
    let table: &[Leaving<'_>] = &[
        ("the youngest of equals", &["web-1", "web-2", "web-3 home=east", "web-4 home=east"], &[], 1, &["web-4"]),
        ("by turns", &["web-1", "web-2", "web-3 home=east", "web-4 home=east"], &[], 2, &["web-4", "web-2"]),
        ("from the host with more", &["web-1", "web-2", "web-3 home=east"], &[], 1, &["web-2"]),
        ("one on its way out is as good as gone",
            &["web-1", "web-2", "web-3 home=east", "web-4 home=east"], &["web-4"], 1, &["web-2"]),
        ("from the host that others need more",
            &["web-1 cpu=500", "web-2 cpu=500 home=east", "db-1 cpu=1000"], &[], 1, &["web-1"]),
        ("no more than there are", &["web-1"], &[], 3, &["web-1"]),
        ("nobody", &[], &[], 1, &[]),
    ];
    for (description, containers, leaving, count, expected) in table {
        let containers = made(containers);
        let found = with_rooms(TWO, &containers, |rooms| {
            let id = |name: &&str| format!("{name:0<12}");
            let leaving: Vec<String> = leaving.iter().map(id).collect();
            let leaving: BTreeSet<&str> = leaving.iter().map(String::as_str).collect();
            let web = containers.iter().filter(|one| one.name.starts_with("web"));
            let web: Vec<&str> =
                web.map(|one| one.id.as_str()).filter(|id| !leaving.contains(id)).collect();
            rooms.leavers("web", &web, &leaving, *count)
        });
        let expected: Vec<String> = expected.iter().map(|name| format!("{name:0<12}")).collect();
        assert_eq!(found, expected, "{description}");
    }
}
