//! Hosts with containers.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "a host of which nothing is said",
        "services: []
hosts: [{ engine: /run/e.sock }]
",
        &[
            "2:9 this host has no `name`",
            "2:9 this host has no `address` | the one that its ports are published at, or `reach: routed`",
        ],
    ),
    (
        "engines that are none",
        "services: []
hosts:
  - { name: a, engine: run/e.sock, address: 198.18.5.1 }
  - { name: b, engine: 'tcp://', address: 198.18.5.1 }
  - { name: c, engine: 'tcp://a:0', address: 198.18.5.1 }
  - { name: d, engine: 'tcp://[fd00::1]x', address: 198.18.5.1 }
  - { name: e, engine: 'ssh://root@e', address: 198.18.5.1 }
",
        &[
            "3:24 `run/e.sock` is not an engine | the path of a socket, or `tcp://host:2376`",
            "4:24 `tcp://` is not an engine | such as `tcp://host:2376`",
            "5:24 `0` is not a port; ports run from 1 to 65535",
            "6:24 `tcp://[fd00::1]x` is not an engine | such as `tcp://host:2376`",
            "7:24 engines are not asked over ssh: the daemon starts no programs | `ssh -NL /run/east.sock:/var/run/docker.sock user@host`, and `engine: /run/east.sock`",
        ],
    ),
    (
        "certificates that are missing, or for nothing",
        "services: []
hosts:
  - { name: a, engine: 'tcp://198.18.5.1', address: 198.18.5.1 }
  - { name: b, engine: 'tcp://198.18.5.2', address: 198.18.5.2, tls: { ca: ca.pem, key: /k } }
  - { name: c, engine: /run/c.sock, address: 198.18.5.3, tls: { ca: /a } }
",
        &[
            "3:24 an engine over TCP needs `tls` | such as `{ ca: /etc/weir/ca.pem, cert: ..., key: ... }`",
            "4:70 there is no `cert`",
            "4:76 path `ca.pem` is not absolute",
            "5:63 `tls` means nothing for a socket | `engine: tcp://host:2376`",
        ],
    ),
    (
        "ways to containers",
        "services: []
hosts:
  - { name: a, engine: /run/a.sock, reach: routed, address: 198.18.5.1 }
  - { name: b, engine: /run/b.sock, reach: tunnel }
  - { name: c, engine: /run/c.sock, address: c.example }
",
        &[
            "3:61 `address` means nothing with `reach: routed` | containers have addresses of their own",
            "4:44 unknown way to containers `tunnel` | one of `published`, `routed`",
            "5:46 `c.example` is not an IP address | names are not resolved; write the address",
        ],
    ),
    (
        "what a host has",
        "services: []
hosts:
  - { name: Big, zone: '', cpus: 0, memory: 2GB, labels: [disk, =x] }
",
        &[
            "3:13 `Big` is not a name | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
            "3:24 `\"\"` is not a name | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
            "3:34 a host without cpu has no replicas",
            "3:45 \"2GB\" is not a quantity: write bytes such as 512Mi or 2G",
            "3:59 `disk` has no value | such as `disk=fast`",
            "3:65 `=x` is not a label | `name=value`, or `name` with any value",
        ],
    ),
    (
        "this host twice, with what others have",
        "services: []
hosts:
  - { name: a, address: 198.18.5.1 }
  - { name: b }
",
        &[
            "3:25 `address` means nothing without `engine` | a host without `engine` is this one",
            "4:5 another host without `engine` is this one as well",
        ],
    ),
    (
        "this host, whose engine is not followed",
        "services: []
docker: { enable: false }
hosts: [{ name: a }]
",
        &["3:9 this host has no engine that is followed | `docker` has `enable: false`"],
    ),
    (
        "names and engines twice",
        "services: []
hosts:
  - { name: local, engine: /run/a.sock, reach: routed }
  - { name: b, engine: /var/run/docker.sock, reach: routed }
",
        &[
            "3:3 two hosts are called `local` | this one is called `local` unless an entry without `engine` says otherwise",
            "3:3 hosts `local` and `b` have one engine",
        ],
    ),
];
