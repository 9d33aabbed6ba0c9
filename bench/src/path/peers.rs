//! What a user would pick instead, in its own words: rules and configuration files, as text.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
};

/// An address that clients call, and who serves them, in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Balanced {
    pub(super) listen: SocketAddr,
    pub(super) udp: bool,
    pub(super) backends: Vec<SocketAddr>,
}

impl Balanced {
    const fn protocol(&self) -> &'static str {
        if self.udp { "udp" } else { "tcp" }
    }
}

/// A table of nftables: a rule a service, each with a map from a counter to backends.
pub(super) fn nft(services: &[Balanced]) -> String {
    let is_v6 = services.iter().any(|service| service.listen.is_ipv6());
    let (family, ip) = if is_v6 { ("ip6", "ip6") } else { ("ip", "ip") };
    let mut rules = format!(
        "table {family} weirbench {{ chain pre {{ type nat hook prerouting priority dstnat;\n"
    );
    for service in services {
        let (vip, port, protocol) =
            (service.listen.ip(), service.listen.port(), service.protocol());
        let target = nft_target(service);
        // A string takes everything.
        let _unseen = writeln!(rules, "{ip} daddr {vip} {protocol} dport {port} {target}");
    }
    rules + "}\n}\n"
}

/// The same with many TCP services: a chain each, found by a map, as who has many would do it.
pub(super) fn nft_map(services: &[Balanced]) -> String {
    let mut chains = String::new();
    let mut elements = String::new();
    for (number, service) in services.iter().filter(|service| !service.udp).enumerate() {
        let (vip, port, target) = (service.listen.ip(), service.listen.port(), nft_target(service));
        let _unseen = writeln!(chains, "chain s{number} {{ meta l4proto tcp {target}\n}}");
        let _unseen = write!(elements, "{vip} . {port} : goto s{number}, ");
    }
    format!(
        "table ip weirbench {{\n{chains}map services {{ type ipv4_addr . inet_service : verdict; \
         elements = {{ {elements}}} }}\nchain pre {{ type nat hook prerouting priority dstnat;\n\
         ip daddr . tcp dport vmap @services\n}}\n}}\n"
    )
}

/// Backends by a counter; all have one port.
fn nft_target(service: &Balanced) -> String {
    let port = service.backends.first().map_or(0, SocketAddr::port);
    let mut map = String::new();
    for (turn, backend) in service.backends.iter().enumerate() {
        let _unseen = write!(map, "{turn} : {}, ", backend.ip());
    }
    format!("dnat to numgen inc mod {} map {{ {map}}}:{port}", service.backends.len())
}

/// What `iptables-restore` reads: each service is a rule a backend, of which the first takes every
/// nth flow, the next one every (n-1)th of the rest, and so on.
pub(super) fn iptables(services: &[Balanced]) -> String {
    let mut rules = String::from("*nat\n");
    for service in services {
        let (vip, port, protocol) =
            (service.listen.ip(), service.listen.port(), service.protocol());
        for (turn, backend) in service.backends.iter().enumerate() {
            let left = service.backends.len() - turn;
            let every = if left > 1 {
                format!("-m statistic --mode nth --every {left} --packet 0 ")
            } else {
                String::new()
            };
            let _unseen = writeln!(
                rules,
                "-A PREROUTING -d {vip}/32 -p {protocol} -m {protocol} --dport {port} {every}\
                 -j DNAT --to-destination {backend}"
            );
        }
    }
    rules + "COMMIT\n"
}

/// What `ipvsadm --restore` reads: masquerading, backends in turn.
pub(super) fn ipvs(services: &[Balanced]) -> String {
    let mut rules = String::new();
    for Balanced { listen, udp, backends } in services {
        let option = if *udp { "-u" } else { "-t" };
        let _unseen = writeln!(rules, "-A {option} {listen} -s rr");
        for backend in backends {
            let _unseen = writeln!(rules, "-a {option} {listen} -r {backend} -m");
        }
    }
    rules
}

/// `HAProxy` that carries TCP. Connections of the load are 64; `maxconn` wants twice as many files.
pub(super) fn haproxy(services: &[Balanced]) -> String {
    let mut config = String::from(
        "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n",
    );
    for service in services.iter().filter(|service| !service.udp) {
        let port = service.listen.port();
        let _unseen =
            writeln!(config, "listen s{port}\n  bind {}\n  balance roundrobin", service.listen);
        for (number, backend) in service.backends.iter().enumerate() {
            let _unseen = writeln!(config, "  server b{number} {backend}");
        }
    }
    config
}

/// nginx that carries TCP, a worker a processor.
pub(super) fn nginx(services: &[Balanced], module: Stream, home: &Path, workers: usize) -> String {
    let load = match module {
        Stream::BuiltIn => String::new(),
        Stream::Module(path) => format!("load_module {path};\n"),
    };
    let home = home.display();
    let mut config = format!(
        "{load}daemon off; worker_processes {workers}; pid {home}/pid; error_log {home}/error.log;\n\
         events {{ worker_connections 8192; }}\nstream {{\n"
    );
    for service in services.iter().filter(|service| !service.udp) {
        let port = service.listen.port();
        let mut servers = String::new();
        for backend in &service.backends {
            let _unseen = write!(servers, "server {backend}; ");
        }
        let _unseen = writeln!(
            config,
            "upstream s{port} {{ {servers}}}\nserver {{ listen {} backlog=8192; proxy_pass s{port}; }}",
            service.listen
        );
    }
    config + "}\n"
}

/// Where nginx has its `stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    BuiltIn,
    Module(&'static str),
}

/// How nginx can carry TCP on this machine.
pub(super) fn nginx_stream() -> Option<Stream> {
    const MODULES: [&str; 2] = [
        "/usr/lib/nginx/modules/ngx_stream_module.so",
        "/usr/lib64/nginx/modules/ngx_stream_module.so",
    ];
    let output = Command::new("nginx").arg("-V").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.split_whitespace().any(|word| word == "--with-stream") {
        return Some(Stream::BuiltIn);
    }
    MODULES.into_iter().find(|path| Path::new(path).exists()).map(Stream::Module)
}

/// Services that nobody asks: the first backend serves them all.
pub(super) fn others(count: u16, backend: SocketAddr) -> impl Iterator<Item = Balanced> {
    const FIRST_PORT: u16 = 20_000;
    let vip = IpAddr::from([198, 18, 1, 2]);
    (0..count).map(move |number| Balanced {
        listen: SocketAddr::new(vip, FIRST_PORT + number),
        udp: false,
        backends: vec![backend],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(listen: &str, udp: bool, backends: &[&str]) -> Balanced {
        let backends = backends.iter().map(|it| it.parse().unwrap()).collect();
        Balanced { listen: listen.parse().unwrap(), udp, backends }
    }

    fn two() -> Vec<Balanced> {
        let backends = ["198.18.10.2:8080", "198.18.10.3:8080", "198.18.10.4:8080"];
        vec![
            service("198.18.1.1:80", false, &backends),
            service("198.18.1.1:53", true, &["198.18.10.2:5353"]),
        ]
    }

    #[test]
    fn each_says_it_in_its_own_words() {
        let rows = [
            (
                "nft",
                nft(&two()),
                "ip daddr 198.18.1.1 tcp dport 80 dnat to numgen inc mod 3 map \
                 { 0 : 198.18.10.2, 1 : 198.18.10.3, 2 : 198.18.10.4, }:8080\n",
            ),
            (
                "nft, udp",
                nft(&two()),
                "udp dport 53 dnat to numgen inc mod 1 map { 0 : 198.18.10.2, }:5353",
            ),
            ("nft map", nft_map(&two()), "elements = { 198.18.1.1 . 80 : goto s0, } }"),
            (
                "iptables",
                iptables(&two()),
                "--dport 80 -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 198.18.10.3:8080\n\
                 -A PREROUTING -d 198.18.1.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 198.18.10.4:8080\n",
            ),
            (
                "ipvs",
                ipvs(&two()),
                "-A -u 198.18.1.1:53 -s rr\n-a -u 198.18.1.1:53 -r 198.18.10.2:5353 -m\n",
            ),
            (
                "haproxy",
                haproxy(&two()),
                "bind 198.18.1.1:80\n  balance roundrobin\n  server b0 198.18.10.2:8080\n",
            ),
            (
                "nginx",
                nginx(&two(), Stream::BuiltIn, Path::new("/h"), 2),
                "upstream s80 { server 198.18.10.2:8080; server 198.18.10.3:8080; server 198.18.10.4:8080; }\n\
                 server { listen 198.18.1.1:80 backlog=8192; proxy_pass s80; }\n",
            ),
        ];
        for (name, text, part) in rows {
            assert!(text.contains(part), "{name}:\n{text}");
        }
        for text in [
            haproxy(&two()),
            nft_map(&two()),
            nginx(&two(), Stream::Module("/m.so"), Path::new("/h"), 1),
        ] {
            assert!(!text.contains("53"), "no datagrams:\n{text}");
        }
    }

    #[test]
    fn ipv6_has_a_table_of_its_own() {
        let rules = nft(&[service("[fd00::1]:80", false, &["[fd00::2]:8080"])]);
        assert!(rules.starts_with("table ip6 weirbench"), "{rules}");
        assert!(rules.contains(
            "ip6 daddr fd00::1 tcp dport 80 dnat to numgen inc mod 1 map { 0 : fd00::2, }:8080"
        ));
    }

    #[test]
    fn others_are_as_many_as_asked_for() {
        let backend = "198.18.10.2:8080".parse().unwrap();
        let ports: Vec<u16> = others(9_999, backend).map(|it| it.listen.port()).collect();
        assert_eq!((ports.len(), ports[0], ports[9_998]), (9_999, 20_000, 29_998));
        assert_eq!(others(0, backend).count(), 0);
    }
}
