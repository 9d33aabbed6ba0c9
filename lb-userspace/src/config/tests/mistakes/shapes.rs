//! Fields and values of the wrong shape.

use super::Row;

pub(super) const ROWS: &[Row<'_>] = &[
    ("not YAML", "services: [\n", &["1:11 not YAML: unclosed bracket '['"]),
    (
        "a tab as indentation",
        "services:
\t- name: web
",
        &["2:2 not YAML: tabs disallowed within this context (block indentation)"],
    ),
    (
        "a second document",
        "services: []
---
services: []
",
        &["3:1 a second document begins here; a configuration is one document"],
    ),
    (
        "an alias of nothing",
        "services: *all\n",
        &["1:11 not YAML: alias references unknown anchor"],
    ),
    ("an alias of itself", "services: &all [*all]\n", &["1:17 this alias contains itself"]),
    ("a tag", "services: !list []\n", &["1:17 not YAML: unsupported tag `!list`"]),
    (
        "too deep",
        "services: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
        &["1:42 too deep, or too many values, for a configuration"],
    ),
    (
        "an empty file",
        "",
        &["1:1 there is nothing in this configuration | `services: []` balances nothing"],
    ),
    (
        "a comment",
        "# nothing\n",
        &["1:1 there is nothing in this configuration | `services: []` balances nothing"],
    ),
    (
        "text",
        "services\n",
        &[
            "1:1 expected the fields of the configuration, found `services` | the fields are `interfaces`, `attach`, `host-clients`, `unserved`, `ping`, `services`, `admin`, `timeouts`, `limits`, `hairpin`, `tunnel`, `source-ports`, `drain`, `docker`, `hosts`",
        ],
    ),
    (
        "a list",
        "- services\n",
        &[
            "1:1 expected the fields of the configuration, found a list | the fields are `interfaces`, `attach`, `host-clients`, `unserved`, `ping`, `services`, `admin`, `timeouts`, `limits`, `hairpin`, `tunnel`, `source-ports`, `drain`, `docker`, `hosts`",
        ],
    ),
    (
        "no services",
        "attach: tc\n",
        &["1:1 there are no `services` | `services: []` balances nothing"],
    ),
    (
        "services without a value",
        "services:\n",
        &["1:9 expected a list, found nothing | give it a value, or remove the line"],
    ),
    (
        "services as fields",
        "services: { web: { listen: [198.18.0.1:80] } }\n",
        &["1:11 expected a list, found fields | every element of a list begins with `- `"],
    ),
    (
        "a service that is text",
        "services: [web]\n",
        &[
            "1:12 expected the fields of a service, found `web` | the fields are `name`, `listen`, `policy`, `forward`, `health`, `report`, `affinity`, `sources`, `limits`, `backends`, `docker`, `scale`",
        ],
    ),
    (
        "an unknown field",
        "services: []
limit: { conns: 1 }
",
        &["2:1 unknown field `limit` in the configuration | did you mean `limits`?"],
    ),
    (
        "an unknown field far from all",
        "services: []
zzz: 1
",
        &[
            "2:1 unknown field `zzz` in the configuration | the fields are `interfaces`, `attach`, `host-clients`, `unserved`, `ping`, `services`, `admin`, `timeouts`, `limits`, `hairpin`, `tunnel`, `source-ports`, `drain`, `docker`, `hosts`",
        ],
    ),
    (
        "an underscore in a field",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: { client_ip: 3h }
",
        &["4:17 unknown field `client_ip` in an affinity | did you mean `client-ip`?"],
    ),
    (
        "the wrong case of a field",
        "Services: []\n",
        &["1:1 unknown field `Services` in the configuration | did you mean `services`?"],
    ),
    (
        "a merge key",
        "services: []
limits: { <<: 1 }
",
        &[
            "2:11 unknown field `<<` in limits | merge keys have no meaning here; an alias `*name` has",
        ],
    ),
    (
        "a field that is no text",
        "services: []
? [a]
: b
",
        &["2:3 the name of a field must be text"],
    ),
    (
        "a field twice",
        "services: []
attach: tc
attach: xdp
",
        &["3:1 `attach` is given twice, first in line 2"],
    ),
    (
        "a field twice in a service",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: maglev
    policy: p2c
",
        &["5:5 `policy` is given twice, first in line 4"],
    ),
    (
        "a list for a word",
        "services: []
attach: [tc]
",
        &["2:9 expected one value, found a list"],
    ),
    (
        "a word for a list",
        "services: [{ name: web, listen: 198.18.0.1:80 }]\n",
        &["1:33 expected a list, found `198.18.0.1:80` | in brackets it is one: `[198.18.0.1:80]`"],
    ),
    (
        "a number for fields",
        "services: []
limits: 5
",
        &[
            "2:9 expected the fields of limits, found `5` | the fields are `conns`, `embryos`, `services`, `backends`, `pages`",
        ],
    ),
    (
        "nothing for fields",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    health:
",
        &[
            "4:11 expected the fields of a health check, found nothing | the fields are `tcp`, `http`, `interval`, `timeout`, `rise`, `fall`, `port`, `all-down`",
        ],
    ),
    (
        "nothing for a word",
        "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: ~
",
        &["4:13 expected one value, found nothing | give it a value, or remove the line"],
    ),
    (
        "several lines and levels",
        "services:
  - name: Web
    listen: [198.18.0.1:0]
    polcy: p2c
  - nam: api
    listen: []
attach: bpf
",
        &[
            "2:11 `Web` is not a name for a service | 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit",
            "3:14 `0` is not a port; ports run from 1 to 65535",
            "4:5 unknown field `polcy` in a service | did you mean `policy`?",
            "5:5 unknown field `nam` in a service | did you mean `name`?",
            "6:13 this service has no `listen` | such as `listen: [198.18.0.1:80/tcp]`",
            "7:9 unknown hook `bpf` | one of `auto`, `xdp`, `xdp-generic`, `tc`",
        ],
    ),
];
