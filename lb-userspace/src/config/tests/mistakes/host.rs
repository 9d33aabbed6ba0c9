//! What is not a service.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "an answer that is none",
        "services: []
unserved: rst
",
        &[
            "2:11 unknown answer `rst` | did you mean `reset`?",
        ],
    ),
    (
        "a ping that is none",
        "services: []
ping: reply
",
        &[
            "2:7 unknown way with pings `reply` | one of `answer`, `pass`",
        ],
    ),
    (
        "an interface without brackets",
        "services: []
interfaces: eth0
",
        &[
            "2:13 `eth0` is neither `auto` nor a list of names | names stand in brackets: `[eth0]`",
        ],
    ),
    (
        "no interface",
        "services: []
interfaces: []
",
        &[
            "2:13 no interface, so no client | `auto` takes those of the default routes",
        ],
    ),
    (
        "interfaces as fields",
        "services: []
interfaces: { eth0: xdp }
",
        &[
            "2:13 expected `auto` or a list of names, found fields",
        ],
    ),
    (
        "interfaces that cannot be",
        "services: []
interfaces: ['', abcdefghijklmnop, auto, a/b, 'a b', ..]
",
        &[
            "2:14 an interface without a name",
            "2:18 interface `abcdefghijklmnop` is longer than 15 bytes",
            "2:36 interface `auto` is not a name | `interfaces: auto`, without brackets, takes those of the default routes",
            "2:42 interface `a/b` has a character that the kernel refuses in names",
            "2:47 interface `a b` has a character that the kernel refuses in names",
            "2:54 interface `..` is not a name",
        ],
    ),
    (
        "an interface twice",
        "services: []
interfaces: [eth1, eth2, eth1]
",
        &[
            "2:26 interface `eth1` is listed twice, first in line 2",
        ],
    ),
    (
        "an unknown hook",
        "services: []
attach: xpd
",
        &[
            "2:9 unknown hook `xpd` | did you mean `xdp`?",
        ],
    ),
    (
        "a relative socket",
        "services: []
admin: { socket: weir.sock }
",
        &[
            "2:18 path `weir.sock` is not absolute",
        ],
    ),
    (
        "a socket that is a directory",
        "services: []
admin: { socket: /run/ }
",
        &[
            "2:18 path `/run/` is a directory",
        ],
    ),
    (
        "a socket beyond the kernel's limit",
        "services: []
admin: { socket: /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }
",
        &[
            "2:18 path `/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` is longer than 107 bytes",
        ],
    ),
    (
        "HTTP for everybody",
        "services: []
admin: { http: 0.0.0.0:9090 }
",
        &[
            "2:16 `0.0.0.0:9090` is not a loopback address; this door asks nobody who they are | `127.0.0.1:9090`, and a proxy that asks who is there",
        ],
    ),
    (
        "HTTP without a port",
        "services: []
admin: { http: 127.0.0.1 }
",
        &[
            "2:16 `127.0.0.1` is neither an address with a port nor `false` | such as `127.0.0.1:9090`",
        ],
    ),
    (
        "HTTP on port 0",
        "services: []
admin: { http: '[::1]:0' }
",
        &[
            "2:16 `[::1]:0` has port 0; ports run from 1 to 65535",
        ],
    ),
    (
        "HTTP that is true",
        "services: []
admin: { http: true }
",
        &[
            "2:16 `true` is neither an address with a port nor `false` | such as `127.0.0.1:9090`",
        ],
    ),
    (
        "timeouts that are none",
        "services: []
timeouts:
  tcp-new: 0s
  tcp-established: forever
  tcp-half-closed: 30
  tcp-closed: -1s
  udp-new: 1s2m
  udp-established: 1s1s
",
        &[
            "3:12 `0s` is no time at all | a duration is at least `1ms`",
            "4:20 `forever` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "5:20 `30` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "6:15 `-1s` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "7:12 `1s2m` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "8:20 `1s1s` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
        ],
    ),
    (
        "more times that are none",
        "services: []
timeouts: { tcp-new: '', udp-new: 1h 30m, tcp-closed: 99999999999999999999s, tcp-established: 5Min }
",
        &[
            "2:22 `\"\"` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "2:35 `1h 30m` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "2:55 `99999999999999999999s` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "2:95 `5Min` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
        ],
    ),
    (
        "limits that are none",
        "services: []
limits: { conns: 0, embryos: 16777217, services: many, backends: -1, pages: 1e3 }
",
        &[
            "2:18 `0` is not a whole number from 1 to 16777216",
            "2:30 `16777217` is not a whole number from 1 to 16777216",
            "2:50 `many` is not a whole number from 1 to 16777216",
            "2:66 `-1` is not a whole number from 1 to 16777216",
            "2:77 `1e3` is not a whole number from 1 to 16777216",
        ],
    ),
    (
        "tunnels of the other family",
        "services: []
tunnel: { v4: 'fd00::/96', v6: 198.18.0.0/16, gue-port: 0 }
",
        &[
            "2:15 `fd00::/96` is not an IPv4 network",
            "2:32 `198.18.0.0/16` is not an IPv6 network",
            "2:57 `0` is not a whole number from 1 to 65535",
        ],
    ),
    (
        "tunnels from nowhere",
        "services: []
tunnel: { v4: 127.0.0.0/8, v6: 'ff02::/64' }
",
        &[
            "2:15 `127.0.0.0/8` has addresses that no packet comes from | a network that leads to nobody else, such as `198.18.255.0/24`",
            "2:32 `ff02::/64` has addresses that no packet comes from | a network that leads to nobody else, such as `198.18.255.0/24`",
        ],
    ),
    (
        "a tunnel's source that is no network",
        "services: []
tunnel: { v4: 198.18.0.7 }
",
        &["2:15 `198.18.0.7` has no prefix length | `198.18.0.7/32`"],
    ),
    (
        "ports that are none, or none at all",
        "services: []
source-ports: 0-100
",
        &["2:15 `0-100` is no range of ports | two ports from 1 to 65535, the smaller one first, such as `10000-32767`"],
    ),
    (
        "ports from the larger one on",
        "services: []
source-ports: 30000-20000
",
        &["2:15 `30000-20000` is no range of ports | two ports from 1 to 65535, the smaller one first, such as `10000-32767`"],
    ),
    (
        "hairpins of the other family",
        "services: []
hairpin: { v4: '100::8', v6: 192.0.0.8 }
",
        &[
            "2:16 `100::8` is not an IPv4 address",
            "2:30 `192.0.0.8` is not an IPv6 address",
        ],
    ),
    (
        "hairpins that no packet carries",
        "services: []
hairpin: { v4: 127.0.0.1, v6: '::' }
",
        &[
            "2:16 `127.0.0.1` is a loopback address | a backend would answer itself instead of this host",
            "2:31 `::` is the unspecified address | name the one address that packets carry",
        ],
    ),
    (
        "a drain of no time",
        "services: []
drain: 0s
",
        &[
            "2:8 `0s` is no time at all | a duration is at least `1ms`",
        ],
    ),
    (
        "too many services",
        "services:
  - { name: a, listen: [198.18.0.1:80] }
  - { name: b, listen: [198.18.0.1:81] }
limits: { services: 1 }
",
        &[
            "3:5 2 services; 1 fit | raise `services` in `limits`",
        ],
    ),
    (
        "too many backends",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80 }
      - { address: 198.18.10.2:80 }
      - { address: 198.18.10.3:80 }
limits: { backends: 2 }
",
        &[
            "7:20 3 backends; 2 fit | raise `backends` in `limits`",
        ],
    ),
];
