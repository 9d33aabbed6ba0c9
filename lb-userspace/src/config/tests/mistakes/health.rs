//! Health checks.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "neither kind",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { interval: 1s } }]\n",
        &["1:60 this health check is neither `tcp` nor `http` | `tcp: true`, or `http: /path`"],
    ),
    (
        "both kinds",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, http: / } }]\n",
        &["1:60 this health check is both `tcp` and `http`"],
    ),
    (
        "no TCP",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: false } }]\n",
        &[
            "1:67 `false` is not `true` | `tcp: true` asks for this kind of check; without a check, remove `health`",
        ],
    ),
    (
        "a path that is not absolute",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { http: healthz } }]\n",
        &["1:68 path `healthz` does not begin with `/`"],
    ),
    (
        "a path with a space",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { http: /a b } }]\n",
        &[
            "1:68 path `/a b` has characters that a request cannot carry | spaces, `#`, control characters and letters beyond ASCII are written as `%20`",
        ],
    ),
    (
        "a path with a control character",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { http: \"/a\\r\\nHost: x\" } }]\n",
        &[
            "1:68 path `/a\\r\\nHost: x` has characters that a request cannot carry | spaces, `#`, control characters and letters beyond ASCII are written as `%20`",
        ],
    ),
    (
        "a path with a fragment",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { http: '/a#b' } }]\n",
        &[
            "1:68 path `/a#b` has characters that a request cannot carry | spaces, `#`, control characters and letters beyond ASCII are written as `%20`",
        ],
    ),
    (
        "a path beyond ASCII",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { http: /ü } }]\n",
        &[
            "1:68 path `/ü` has characters that a request cannot carry | spaces, `#`, control characters and letters beyond ASCII are written as `%20`",
        ],
    ),
    (
        "a UDP service without a port",
        "services: [{ name: web, listen: ['198.18.0.1:53/udp'], health: { tcp: true } }]\n",
        &[
            "1:64 this health check needs a `port`: a UDP port cannot be probed | name one where every backend answers over TCP",
        ],
    ),
    (
        "a portless backend",
        "services:
  - name: web
    listen: [198.18.0.1:80-90]
    backends:
      - { address: 198.18.10.1 }
    health: { tcp: true }
",
        &[
            "6:13 this health check needs a `port`: a backend of the service has none | name one where every backend answers over TCP",
        ],
    ),
    (
        "no such last resort",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, all-down: panic } }]\n",
        &["1:83 `panic` is neither `try` nor `refuse`"],
    ),
    (
        "port 0",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, port: 0 } }]\n",
        &["1:79 `0` is not a port; ports run from 1 to 65535"],
    ),
    (
        "a timeout beyond the interval",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, interval: 1s, timeout: 1500ms } }]\n",
        &["1:96 timeout 1.5s is longer than the interval, 1s"],
    ),
    (
        "a timeout beyond the default interval",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, timeout: 3s } }]\n",
        &["1:82 timeout 3s is longer than the interval, 2s"],
    ),
    (
        "a wrong interval is no short one",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, interval: 1 s, timeout: 3s } }]\n",
        &[
            "1:83 `1 s` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
        ],
    ),
    (
        "no time",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, interval: 0s, timeout: 0ms } }]\n",
        &[
            "1:83 `0s` is no time at all | a duration is at least `1ms`",
            "1:96 `0ms` is no time at all | a duration is at least `1ms`",
        ],
    ),
    (
        "rise and fall out of range",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, rise: 0, fall: 101 } }]\n",
        &[
            "1:79 `0` is not a whole number from 1 to 100",
            "1:88 `101` is not a whole number from 1 to 100",
        ],
    ),
    (
        "times without a unit",
        "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, interval: 2, timeout: 1.5s } }]\n",
        &[
            "1:83 `2` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "1:95 `1.5s` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
        ],
    ),
];
