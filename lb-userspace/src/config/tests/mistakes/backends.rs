//! Backends.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "another port where nothing is translated",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    forward: dsr
    backends: [{ address: 198.18.10.2:8080 }]
",
        &[
            "5:27 port 8080 is not that of `198.18.0.1:80/tcp`, and `forward: dsr` translates nothing | leave the port out: the one dialled is kept",
        ],
    ),
    (
        "another port inside a tunnel",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    forward: gue
    backends: [{ address: 198.18.10.2:6080 }]
",
        &[
            "5:27 port 6080 is not that of `198.18.0.1:80/tcp`, and `forward: gue` translates nothing | leave the port out: the one dialled is kept",
        ],
    ),
    (
        "one port for two that are dialled",
        "services:
  - name: web
    listen: [198.18.0.1:80, 198.18.0.1:81]
    forward: dsr
    backends: [{ address: 198.18.10.2:80 }, { address: 198.18.10.3 }]
",
        &[
            "5:27 port 80 is not that of `198.18.0.1:81/tcp`, and `forward: dsr` translates nothing | leave the port out: the one dialled is kept",
        ],
    ),
    (
        "one port for a range",
        "services:
  - name: web
    listen: [198.18.0.1:80-81]
    forward: dsr
    backends: [{ address: 198.18.10.2:80 }]
",
        &[
            "5:27 port 80 is not that of `198.18.0.1:80-81/tcp`, and `forward: dsr` translates nothing | leave the port out: the one dialled is kept",
        ],
    ),
    (
        "another family where nothing is translated",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    forward: dsr
    backends: [{ address: 198.18.10.2 }, { address: \"fd00::2\" }]
",
        &[
            "5:53 backend `fd00::2` is IPv6, but no `listen` of the service is | the backends of a family serve the addresses of that family",
        ],
    ),
    (
        "no port where it is translated",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    forward: nat
    backends: [{ address: 198.18.10.2 }]
",
        &[
            "5:27 a backend needs a port; `198.18.10.2` has none | only where every `listen` is a range of ports, the destination port is kept",
        ],
    ),
    (
        "no address",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { weight: 1 }
",
        &["5:9 this backend has no `address`"],
    ),
    (
        "no port",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1 }
",
        &[
            "5:20 a backend needs a port; `198.18.10.1` has none | only where every `listen` is a range of ports, the destination port is kept",
        ],
    ),
    (
        "a cgroup without a place",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, cgroup: cpu/web1 }
",
        &[
            "5:44 cgroup `cpu/web1` is not an absolute path | the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`",
        ],
    ),
    (
        "a cgroup of nothing",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, cgroup: '' }
",
        &[
            "5:44 cgroup `\"\"` is not an absolute path | the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`",
        ],
    ),
    (
        "a cgroup by a way up",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, cgroup: /sys/fs/cgroup/cpu/../web1 }
",
        &[
            "5:44 cgroup `/sys/fs/cgroup/cpu/../web1` has `..` in it | the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`",
        ],
    ),
    (
        "a cgroup that is everybody",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, cgroup: / }
",
        &[
            "5:44 cgroup `/` has all processes of the host in it | the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`",
        ],
    ),
    (
        "a cgroup that is everybody, in other words",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, cgroup: //./ }
",
        &[
            "5:44 cgroup `//./` has all processes of the host in it | the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`",
        ],
    ),
    (
        "a cgroup with a line in it",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, cgroup: \"/web\\n1\" }
",
        &[
            "5:44 cgroup `/web\\n1` has control characters | the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`",
        ],
    ),
    (
        "one backend in two cgroups",
        "services:
  - { name: a, listen: [198.18.0.1:80], backends: [{ address: 198.18.10.1:80, cgroup: /web1 }] }
  - { name: b, listen: [198.18.0.1:81], backends: [{ address: 198.18.10.1:80 }] }
  - { name: c, listen: [198.18.0.1:82], backends: [{ address: 198.18.10.1:80, cgroup: /web1/ }] }
  - { name: d, listen: [198.18.0.1:83], backends: [{ address: 198.18.10.1:80, cgroup: /web2 }] }
",
        &[
            "5:63 the cgroup of backend `198.18.10.1:80` is `/web2` here and `/web1` in line 2 | once is enough: it is the same backend",
        ],
    ),
    (
        "no port behind a range and a port",
        "services:
  - name: web
    listen: [198.18.0.1:80-90, 198.18.0.1:99]
    backends:
      - { address: 198.18.10.1 }
",
        &[
            "5:20 a backend needs a port; `198.18.10.1` has none | only where every `listen` is a range of ports, the destination port is kept",
        ],
    ),
    (
        "port 0",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:0 }
",
        &["5:20 `0` is not a port; ports run from 1 to 65535"],
    ),
    (
        "a protocol",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80/tcp }
",
        &[
            "5:20 `198.18.10.1:80/tcp` is not an address with a port | a backend has the protocol of its service: `198.18.10.1:80`",
        ],
    ),
    (
        "a name",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: web1:80 }
",
        &["5:20 `web1` is not an IP address | names are not resolved; write the address"],
    ),
    (
        "addresses of no host",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 0.0.0.0:80 }
      - { address: 239.1.1.1:80 }
",
        &[
            "5:20 `0.0.0.0` is the unspecified address | name the one address that packets carry",
            "6:20 `239.1.1.1` is a multicast address | name the one address that packets carry",
        ],
    ),
    (
        "a backend twice",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80 }
      - { address: 198.18.10.1:80, weight: 5 }
",
        &[
            "6:20 backend `198.18.10.1:80` is listed twice, before in line 5 | a larger `weight` gives it more flows",
        ],
    ),
    (
        "a portless backend twice",
        "services:
  - name: web
    listen: [198.18.0.1:80-90]
    backends:
      - { address: 198.18.10.1 }
      - { address: 198.18.10.1 }
",
        &[
            "6:20 backend `198.18.10.1` is listed twice, before in line 5 | a larger `weight` gives it more flows",
        ],
    ),
    (
        "an IPv4 backend of an IPv6 service",
        "services:
  - name: web
    listen: ['[fd00::1]:80']
    backends:
      - { address: 198.18.10.1:80 }
      - { address: '[fd00::2]:80' }
",
        &[
            "5:20 backend `198.18.10.1:80` is IPv4, but no `listen` of the service is | the backends of a family serve the addresses of that family",
        ],
    ),
    (
        "an IPv6 backend only, of an IPv4 service",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: '[fd00::2]:80' }
",
        &[
            "3:14 `198.18.0.1:80/tcp` is IPv4, but no backend of the service is | the backends of a family serve the addresses of that family",
            "5:20 backend `[fd00::2]:80` is IPv6, but no `listen` of the service is | the backends of a family serve the addresses of that family",
        ],
    ),
    (
        "a family without a backend",
        "services:
  - name: web
    listen: [198.18.0.1:80, '[fd00::1]:80']
    backends:
      - { address: 198.18.10.1:80 }
",
        &[
            "3:29 `[fd00::1]:80/tcp` is IPv6, but no backend of the service is | the backends of a family serve the addresses of that family",
        ],
    ),
    (
        "a backend that is its own service",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.0.1:80 }
",
        &[
            "5:20 backend `198.18.0.1:80` is the service address `198.18.0.1:80/tcp` in line 3 | name where the service runs",
        ],
    ),
    (
        "a backend that is another service",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.0.2:85 }
  - { name: other, listen: [198.18.0.2:80-90] }
",
        &[
            "5:20 backend `198.18.0.2:85` is the service address `198.18.0.2:80-90/tcp` in line 6 | name where the service runs",
        ],
    ),
    (
        "a portless backend that is its own service",
        "services:
  - name: web
    listen: [198.18.0.1:80-90]
    backends:
      - { address: 198.18.0.1 }
",
        &[
            "5:20 backend `198.18.0.1` is the service address `198.18.0.1:80-90/tcp` in line 3 | name where the service runs",
        ],
    ),
    (
        "weights that are none",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80, weight: 1001 }
      - { address: 198.18.10.2:80, weight: -1 }
      - { address: 198.18.10.3:80, weight: 1.5 }
      - { address: 198.18.10.4:80, weight: 0x10 }
      - { address: 198.18.10.5:80, weight: heavy }
      - { address: 198.18.10.6:80, weight: 99999999999999999999 }
",
        &[
            "5:44 weight `1001` is not a whole number from 0 to 1000",
            "6:44 weight `-1` is not a whole number from 0 to 1000",
            "7:44 weight `1.5` is not a whole number from 0 to 1000",
            "8:44 weight `0x10` is not a whole number from 0 to 1000",
            "9:44 weight `heavy` is not a whole number from 0 to 1000",
            "10:44 weight `99999999999999999999` is not a whole number from 0 to 1000",
        ],
    ),
    (
        "a wrong address hides no wrong weight",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { address: nowhere, weight: 2000 }
",
        &[
            "5:20 `nowhere` is not an IP address | names are not resolved; write the address",
            "5:37 weight `2000` is not a whole number from 0 to 1000",
        ],
    ),
    (
        "a wrong backend is no missing family",
        "services:
  - name: web
    listen: ['[fd00::1]:80', 198.18.0.1:80]
    backends:
      - { address: 198.18.10.1:80 }
      - { address: 'fd00::2:x' }
",
        &["6:20 `fd00::2:x` is not an IP address | an IPv6 address has brackets: `[fd00::2]:x`"],
    ),
    (
        "a wrong listen is no missing family",
        "services:
  - name: web
    listen: [198.18.0.1:80, '[fd00::1]:x']
    backends:
      - { address: '[fd00::2]:80' }
",
        &["3:29 `x` is not a port; ports run from 1 to 65535"],
    ),
];
