//! What backends say of their own load.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "a report from nowhere",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { interval: 1s } }]\n",
        &[
            "1:60 this report is neither from an `agent` nor by `http` | `agent: PORT`, or `http: /path`",
        ],
    ),
    (
        "two reports in one",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { agent: 9000, http: / } }]\n",
        &["1:60 this report is both from an `agent` and by `http`"],
    ),
    (
        "an agent without a port",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { agent: true } }]\n",
        &["1:69 `true` is not a port; ports run from 1 to 65535"],
    ),
    (
        "an agent with two ports",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { agent: 9000, port: 9001 } }]\n",
        &["1:81 `agent` is a port already | `port` is for `http`"],
    ),
    (
        "a path that is not absolute",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { http: load } }]\n",
        &["1:68 path `load` does not begin with `/`"],
    ),
    (
        "a report that is old when it comes",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { http: /, interval: 5s } }]\n",
        &["1:81 interval 5s is longer than a report counts, 3s"],
    ),
    (
        "a report over UDP",
        "services: [{ name: web, listen: ['198.18.0.1:53/udp'], report: { http: /load } }]\n",
        &[
            "1:64 this report needs a `port`: a UDP port cannot be probed | name one where every backend answers over TCP",
        ],
    ),
    (
        "a field that agents have elsewhere",
        "services: [{ name: web, listen: ['198.18.0.1:80'], report: { agent: 9000, send: x } }]\n",
        &[
            "1:75 unknown field `send` in a report | the fields are `agent`, `http`, `port`, `interval`",
        ],
    ),
];
