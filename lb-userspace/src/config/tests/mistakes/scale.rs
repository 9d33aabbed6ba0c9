//! Replicas of a service.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "replicas without a bound",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: {} }]\n",
        &["1:55 these replicas have no `max` | such as `{ min: 2, max: 8 }`"],
    ),
    (
        "bounds that exclude each other",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { min: 5, max: 4 } }]\n",
        &["1:70 at most 4 replicas, but at least 5"],
    ),
    (
        "bounds that are none",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { min: 0, max: 1001 } }]\n",
        &[
            "1:62 `0` is not a whole number from 1 to 1000",
            "1:70 `1001` is not a whole number from 1 to 1000",
        ],
    ),
    (
        "parts that are none",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    scale: { max: 2, target: 0%, tolerance: 0.1 }
",
        &[
            "4:30 `0%` is not a part from 1% to 100% | a whole number with `%`, such as `70%`",
            "4:45 `0.1` is not a part from 0% to 100% | a whole number with `%`, such as `70%`",
        ],
    ),
    (
        "a part above all",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 2, target: 101% } }]\n",
        &["1:73 `101%` is not a part from 1% to 100% | a whole number with `%`, such as `70%`"],
    ),
    (
        "words that nobody knows",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    scale: { max: 2, algorithm: vpa, forecast: gray, executor: dcoker, dry-run: yes }
",
        &[
            "4:33 unknown algorithm `vpa` | did you mean `hpa`?",
            "4:48 unknown forecast `gray` | did you mean `grey`?",
            "4:64 unknown executor `dcoker` | did you mean `docker`?",
            "4:81 `yes` is neither `true` nor `false`",
        ],
    ),
    (
        "a forecast for an algorithm that has none",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    scale: { max: 2, algorithm: hpa, forecast: grey, window: 20 }
",
        &[
            "4:48 `forecast` means nothing with `algorithm: hpa` | Kubernetes' algorithm has none",
            "4:62 `window` means nothing with `algorithm: hpa` | Kubernetes' algorithm has none",
        ],
    ),
    (
        "a policy that measures nothing",
        "services: [{ name: a, listen: [198.18.0.1:80], policy: maglev, scale: { max: 2 } }]\n",
        &[
            "1:71 these replicas need a `capacity`: `maglev` measures none | flows a second that a replica can take, or `policy: adaptive`",
        ],
    ),
    (
        "a capacity of nothing",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 2, capacity: 0 } }]\n",
        &["1:75 `0` is not a whole number from 1 to 10000000"],
    ),
    (
        "times that are none",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    scale: { max: 2, bucket: 500ms, window: 4, start-time: 0s, down-window: 5, cooldown: -1s }
",
        &[
            "4:30 a bucket of 500ms is not from 1s to 5m | counters are read once a second",
            "4:45 `4` is not a whole number from 5 to 100",
            "4:60 `0s` is no time at all | a duration is at least `1ms`",
            "4:77 `5` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
            "4:90 `-1s` is not a duration | write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`",
        ],
    ),
    (
        "a command that is missing",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 2, executor: command } }]\n",
        &["1:55 these replicas have no `command` | such as `[/usr/local/bin/scale]`"],
    ),
    (
        "a command of nothing",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 2, executor: command, command: [] } }]\n",
        &["1:93 `command` is empty"],
    ),
    (
        "a command that has to be looked for",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 2, executor: command, command: [scale] } }]\n",
        &["1:94 path `scale` is not absolute"],
    ),
    (
        "fields of other executors",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    scale: { max: 2, command: [/bin/true], command-timeout: 1s, template: web-1 }
",
        &[
            "4:31 `command` means nothing with `executor: advise` | `executor: command`",
            "4:61 `command-timeout` means nothing with `executor: advise` | `executor: command`",
            "4:75 `template` means nothing with `executor: advise` | `executor: docker`",
        ],
    ),
    (
        "a template that is none",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    docker: { label: app }
    scale: { max: 2, executor: docker, template: /web }
",
        &["5:50 `/web` is neither the name of a container nor a label | `web-1`, or `name=value`"],
    ),
    (
        "containers that are not followed",
        "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 2, executor: docker } }]\n",
        &[
            "1:55 `executor: docker` starts containers, which are not followed | add `docker: {}` to the file, or `docker: { label: app=web }` to the service",
        ],
    ),
];
