//! Listen addresses.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "no listen",
        "services: [{ name: web }]\n",
        &["1:12 this service has no `listen` | such as `listen: [198.18.0.1:80/tcp]`"],
    ),
    (
        "an empty listen",
        "services: [{ name: web, listen: [] }]\n",
        &["1:33 this service has no `listen` | such as `listen: [198.18.0.1:80/tcp]`"],
    ),
    (
        "no port",
        "services: [{ name: web, listen: [198.18.0.1, 198.18.0.1/udp, '[fd00::1]'] }]\n",
        &[
            "1:34 `198.18.0.1` has no port | such as `198.18.0.1:80`",
            "1:46 `198.18.0.1/udp` has no port | such as `198.18.0.1:80`",
            "1:62 `[fd00::1]` has no port | such as `[fd00::1]:80`",
        ],
    ),
    (
        "port 0",
        "services: [{ name: web, listen: [198.18.0.1:0/tcp, 198.18.0.1:0-10/tcp] }]\n",
        &[
            "1:34 `0` is not a port; ports run from 1 to 65535",
            "1:52 `0` is not a port; ports run from 1 to 65535",
        ],
    ),
    (
        "a port beyond 65535",
        "services: [{ name: web, listen: [198.18.0.1:65536] }]\n",
        &["1:34 `65536` is not a port; ports run from 1 to 65535"],
    ),
    (
        "a port that is no number",
        "services: [{ name: web, listen: [198.18.0.1:http, 198.18.0.1:+80, '198.18.0.1:'] }]\n",
        &[
            "1:34 `http` is not a port; ports run from 1 to 65535",
            "1:51 `+80` is not a port; ports run from 1 to 65535",
            "1:67 `\"\"` is not a port; ports run from 1 to 65535",
        ],
    ),
    (
        "a range that ends before it begins",
        "services: [{ name: web, listen: [198.18.0.1:90-80] }]\n",
        &["1:34 port range `90-80` ends before it begins | `80-90`"],
    ),
    (
        "half a range",
        "services: [{ name: web, listen: ['198.18.0.1:80-', 198.18.0.1:-80] }]\n",
        &[
            "1:34 `\"\"` is not a port; ports run from 1 to 65535",
            "1:52 `\"\"` is not a port; ports run from 1 to 65535",
        ],
    ),
    (
        "no address",
        "services: [{ name: web, listen: [':80'] }]\n",
        &["1:34 `\"\"` is not an IP address | such as `198.18.0.1:80` or `[fd00::1]:80`"],
    ),
    (
        "a name for an address",
        "services: [{ name: web, listen: [example.org:80] }]\n",
        &["1:34 `example.org` is not an IP address | names are not resolved; write the address"],
    ),
    (
        "no such IPv4 address",
        "services: [{ name: web, listen: [198.18.0.256:80] }]\n",
        &["1:34 `198.18.0.256` is not an IP address | such as `198.18.0.1:80` or `[fd00::1]:80`"],
    ),
    (
        "IPv6 without brackets",
        "services: [{ name: web, listen: ['fd00::1:99999/tcp', 'fd00:0:0:0:0:0:0:1:80/tcp'] }]\n",
        &[
            "1:34 `fd00::1:99999` is not an IP address | an IPv6 address has brackets: `[fd00::1]:99999`",
            "1:55 `fd00:0:0:0:0:0:0:1:80` is not an IP address | an IPv6 address has brackets: `[fd00::1]:80`",
        ],
    ),
    (
        "a bracket too few",
        "services: [{ name: web, listen: ['[fd00::1:80'] }]\n",
        &["1:34 `[fd00::1:80` is not an IP address | such as `198.18.0.1:80` or `[fd00::1]:80`"],
    ),
    (
        "an unknown protocol",
        "services: [{ name: web, listen: [198.18.0.1:80/sctp, 198.18.0.1:80/TCP, 198.18.0.1:80/] }]\n",
        &[
            "1:34 unknown protocol `sctp` | `tcp` or `udp`",
            "1:54 unknown protocol `TCP` | did you mean `tcp`?",
            "1:73 unknown protocol `\"\"` | `tcp` or `udp`",
        ],
    ),
    (
        "the unspecified address",
        "services: [{ name: web, listen: [0.0.0.0:80, '[::]:80'] }]\n",
        &[
            "1:34 `0.0.0.0` is the unspecified address | name the one address that packets carry",
            "1:46 `::` is the unspecified address | name the one address that packets carry",
        ],
    ),
    (
        "multicast addresses",
        "services: [{ name: web, listen: [224.0.0.1:80, '[ff02::1]:80'] }]\n",
        &[
            "1:34 `224.0.0.1` is a multicast address | name the one address that packets carry",
            "1:48 `ff02::1` is a multicast address | name the one address that packets carry",
        ],
    ),
    (
        "the broadcast address",
        "services: [{ name: web, listen: [255.255.255.255:80] }]\n",
        &[
            "1:34 `255.255.255.255` is the broadcast address | name the one address that packets carry",
        ],
    ),
    (
        "IPv4 in IPv6 clothes",
        "services: [{ name: web, listen: ['[::ffff:198.18.0.1]:80'] }]\n",
        &["1:34 `[::ffff:198.18.0.1]:80` is an IPv4-mapped address | write it as `198.18.0.1`"],
    ),
    (
        "two protocols",
        "services:
  - name: dns
    listen:
      - 198.18.0.1:53/udp
      - 198.18.0.1:53/tcp
",
        &[
            "5:9 `198.18.0.1:53/tcp` is not udp, the protocol of this service in line 4 | a service has one protocol; make a second service",
        ],
    ),
    (
        "an address and port twice in a service",
        "services:
  - name: web
    listen:
      - 198.18.0.1:80
      - 198.18.0.1:80/tcp
",
        &["5:9 `198.18.0.1:80/tcp` is listened on twice, first in line 4"],
    ),
    (
        "an address and port in two services",
        "services:
  - { name: a, listen: [198.18.0.1:80] }
  - { name: b, listen: [198.18.0.1:80] }
",
        &["3:25 `198.18.0.1:80/tcp` is listened on twice, first in line 2"],
    ),
    (
        "overlapping ranges",
        "services:
  - { name: a, listen: [198.18.0.1:100-200/udp] }
  - { name: b, listen: [198.18.0.1:200-300/udp] }
  - { name: c, listen: [198.18.0.1:50-400/udp] }
",
        &[
            "3:25 `198.18.0.1:200-300/udp` overlaps `198.18.0.1:100-200/udp` in line 2",
            "4:25 `198.18.0.1:50-400/udp` overlaps `198.18.0.1:100-200/udp` in line 2",
        ],
    ),
    (
        "a port within a range",
        "services:
  - { name: a, listen: [198.18.0.1:100-200] }
  - { name: b, listen: [198.18.0.1:150] }
",
        &["3:25 `198.18.0.1:150/tcp` overlaps `198.18.0.1:100-200/tcp` in line 2"],
    ),
];
