//! Containers as backends.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "containers without a label",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: { port: 80 } }]\n",
        &["1:56 these containers have no `label` | such as `{ label: app=web }`"],
    ),
    (
        "an empty label",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: { label: '' } }]\n",
        &["1:65 `\"\"` is not a label | `name=value`, or `name` with any value"],
    ),
    (
        "a value without a label",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: { label: '=web' } }]\n",
        &["1:65 `=web` is not a label | `name=value`, or `name` with any value"],
    ),
    (
        "a label with a space",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: { label: app = web } }]\n",
        &["1:65 `app = web` is not a label | `name=value`, or `name` with any value"],
    ),
    (
        "a port that is none and a network that is none",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    docker: { label: app, port: 0, network: -x }
",
        &[
            "4:33 `0` is not a port; ports run from 1 to 65535",
            "4:45 `-x` is not the name of a Docker network | of `a-z A-Z 0-9 - _ .`, beginning with a letter or digit",
        ],
    ),
    (
        "a misspelled field of containers",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: { lable: app=web } }]\n",
        &["1:58 unknown field `lable` in the containers | did you mean `label`?"],
    ),
    (
        "a label alone",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: app=web }]\n",
        &[
            "1:56 expected the fields of the containers, found `app=web` | the fields are `label`, `port`, `network`",
        ],
    ),
    (
        "a backend of no family that is listened on, beside containers",
        "services:
  - name: a
    listen: [198.18.0.1:80]
    backends: [{ address: '[fd00::1]:80' }]
    docker: { label: app }
",
        &[
            "4:27 backend `[fd00::1]:80` is IPv6, but no `listen` of the service is | the backends of a family serve the addresses of that family",
        ],
    ),
    (
        "containers that are not followed",
        "services: [{ name: a, listen: [198.18.0.1:80], docker: { label: app } }]
docker: { enable: false }
",
        &[
            "1:56 this service chooses containers, which are not followed | `docker` has `enable: false`",
        ],
    ),
    (
        "an enable that is neither true nor false",
        "services: []
docker: { enable: yes }
",
        &["2:19 `yes` is neither `true` nor `false`"],
    ),
    (
        "a socket that is an address",
        "services: []
docker: { socket: 'tcp://198.18.0.1:2375' }
",
        &["2:19 path `tcp://198.18.0.1:2375` is not absolute"],
    ),
    (
        "automatic ports that are none, and a file that is nowhere",
        "services: []
docker: { ports: 100-90, state: ports.json }
",
        &[
            "2:18 port range `100-90` ends before it begins | `90-100`",
            "2:33 path `ports.json` is not absolute",
        ],
    ),
    (
        "automatic ports from 0 on",
        "services: []
docker: { ports: 0-100 }
",
        &["2:18 `0` is not a port; ports run from 1 to 65535"],
    ),
    (
        "an unknown field of docker",
        "services: []
docker: { host: /run/docker.sock }
",
        &[
            "2:11 unknown field `host` in docker | the fields are `enable`, `socket`, `ports`, `state`",
        ],
    ),
];
