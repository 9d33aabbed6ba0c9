//! Names, policies, affinity, sources.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    ("no name", "services: [{ listen: [198.18.0.1:80] }]\n", &["1:12 this service has no `name`"]),
    (
        "an empty name",
        "services: [{ name: '', listen: [198.18.0.1:80] }]\n",
        &[
            "1:20 `\"\"` is not a name for a service | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
        ],
    ),
    (
        "a name with capitals",
        "services: [{ name: Web, listen: [198.18.0.1:80] }]\n",
        &[
            "1:20 `Web` is not a name for a service | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
        ],
    ),
    (
        "a name with a space",
        "services: [{ name: a b, listen: [198.18.0.1:80] }]\n",
        &[
            "1:20 `a b` is not a name for a service | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
        ],
    ),
    (
        "a name with a leading dash",
        "services: [{ name: '-a', listen: [198.18.0.1:80] }]\n",
        &[
            "1:20 `-a` is not a name for a service | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
        ],
    ),
    (
        "a name of 64 bytes",
        "services: [{ name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, listen: [198.18.0.1:80] }]\n",
        &[
            "1:20 `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` is not a name for a service | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
        ],
    ),
    (
        "a name twice",
        "services:
  - { name: web, listen: [198.18.0.1:80] }
  - { name: web, listen: [198.18.0.1:81] }
",
        &["3:13 the name `web` is taken by the service in line 2"],
    ),
    (
        "limits of nothing",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    limits: { burst: 2s }
",
        &[
            "4:13 these limits have neither `new-flows` nor `per-source` | such as `{ per-source: 100/s }`",
        ],
    ),
    (
        "limits that are no rates",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    limits: { new-flows: 100, per-source: 0/s, burst: 2h }
",
        &[
            "4:26 `100` is not a number of flows a second | a whole number from 1 to 100000000 and `/s`, such as `100/s`",
            "4:43 `0/s` is not a number of flows a second | a whole number from 1 to 100000000 and `/s`, such as `100/s`",
            "4:55 `2h` is more than 1 hour",
        ],
    ),
    (
        "limits of other units",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    limits: { new-flows: 100/m, per-source: 100000001/s }
",
        &[
            "4:26 `100/m` is not a number of flows a second | a whole number from 1 to 100000000 and `/s`, such as `100/s`",
            "4:45 `100000001/s` is not a number of flows a second | a whole number from 1 to 100000000 and `/s`, such as `100/s`",
        ],
    ),
    (
        "an unknown limit",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    limits: { new-flow: 100/s }
",
        &["4:15 unknown field `new-flow` in the limits of a service | did you mean `new-flows`?"],
    ),
    (
        "an unknown policy",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: maglv
",
        &["4:13 unknown policy `maglv` | did you mean `maglev`?"],
    ),
    (
        "a policy of no kind",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: fastest
",
        &[
            "4:13 unknown policy `fastest` | one of `adaptive`, `adaptive-maglev`, `shortest-delay`, `maglev`, `source-hash`, `round-robin`, `weighted-round-robin`, `random`, `least-connections`, `weighted-least-connections`, `p2c`, `classic`",
        ],
    ),
    (
        "a forward mode of no kind",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    forward: tunnel
",
        &["4:14 unknown forward mode `tunnel` | one of `nat`, `dsr`, `ipip`, `gue`, `full-nat`"],
    ),
    (
        "a misspelled forward mode",
        "services: [{ name: web, listen: [198.18.0.1:80], forward: drs }]\n",
        &["1:59 unknown forward mode `drs` | did you mean `dsr`?"],
    ),
    (
        "an affinity without its field",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: {}
",
        &["4:15 this affinity has no `client-ip` | such as `{ client-ip: 3h }`"],
    ),
    (
        "an affinity of no time",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: { client-ip: 0s }
",
        &["4:28 `0s` is no time at all | a duration is at least `1ms`"],
    ),
    (
        "an affinity beyond a week",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: { client-ip: 8d }
",
        &["4:28 `8d` is more than 7 days"],
    ),
    (
        "sources without their field",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: {}
",
        &["4:14 these sources have no `allow` | without `sources` everybody may connect"],
    ),
    (
        "sources that allow nobody",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: [] }
",
        &["4:23 `allow` is empty, so nobody may connect | without `sources` everybody may connect"],
    ),
    (
        "a source without a prefix length",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: [198.18.0.1] }
",
        &["4:24 `198.18.0.1` has no prefix length | `198.18.0.1/32`"],
    ),
    (
        "a source with host bits",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: [198.18.0.1/15, 'fd00::1/8'] }
",
        &[
            "4:24 `198.18.0.1/15` has bits beyond its prefix | the network is `198.18.0.0/15`",
            "4:39 `fd00::1/8` has bits beyond its prefix | the network is `fd00::/8`",
        ],
    ),
    (
        "a source that is no network",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: [office, 198.18.0.0/33] }
",
        &[
            "4:24 `office` is not a network | such as `198.18.0.0/15`",
            "4:32 `198.18.0.0/33` is not a network | such as `198.18.0.0/15`",
        ],
    ),
    (
        "a source in IPv6 clothes",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: ['::ffff:198.18.0.0/112'] }
",
        &["4:24 `::ffff:198.18.0.0/112` is an IPv4-mapped address | write it as an IPv4 network"],
    ),
];
