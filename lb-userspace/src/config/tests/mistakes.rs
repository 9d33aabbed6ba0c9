//! Every mistake that a configuration can have: the text, and where and what is reported.

use super::mistakes;

/// A description, a text, and its mistakes: `line:column message`, then the hint after a bar.
type Row<'a> = (&'a str, &'a str, &'a [&'a str]);

fn check(rows: &[Row<'_>]) {
    let failed: Vec<String> = rows
        .iter()
        .map(|(description, text, expected)| (description, mistakes(text), expected))
        .filter(|(_, found, expected)| found != *expected)
        .map(|(description, found, expected)| {
            format!("{description}\n  found    {found:#?}\n  expected {expected:#?}")
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn shapes() {
    check(&[
        (
            "not YAML",
            "services: [\n",
            &[
                "1:11 not YAML: unclosed bracket '['",
            ],
        ),
        (
            "a tab as indentation",
            "services:
\t- name: web
",
            &[
                "2:2 not YAML: tabs disallowed within this context (block indentation)",
            ],
        ),
        (
            "a second document",
            "services: []
---
services: []
",
            &[
                "3:1 a second document begins here; a configuration is one document",
            ],
        ),
        (
            "an alias of nothing",
            "services: *all\n",
            &[
                "1:11 not YAML: alias references unknown anchor",
            ],
        ),
        (
            "an alias of itself",
            "services: &all [*all]\n",
            &[
                "1:17 this alias contains itself",
            ],
        ),
        (
            "a tag",
            "services: !list []\n",
            &[
                "1:17 not YAML: unsupported tag `!list`",
            ],
        ),
        (
            "too deep",
            "services: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
            &[
                "1:42 too deep, or too many values, for a configuration",
            ],
        ),
        (
            "an empty file",
            "",
            &[
                "1:1 there is nothing in this configuration | `services: []` balances nothing",
            ],
        ),
        (
            "a comment",
            "# nothing\n",
            &[
                "1:1 there is nothing in this configuration | `services: []` balances nothing",
            ],
        ),
        (
            "text",
            "services\n",
            &[
                "1:1 expected the fields of the configuration, found `services` | the fields are `interfaces`, `attach`, `services`, `admin`, `timeouts`, `limits`, `hairpin`, `drain`",
            ],
        ),
        (
            "a list",
            "- services\n",
            &[
                "1:1 expected the fields of the configuration, found a list | the fields are `interfaces`, `attach`, `services`, `admin`, `timeouts`, `limits`, `hairpin`, `drain`",
            ],
        ),
        (
            "no services",
            "attach: tc\n",
            &[
                "1:1 there are no `services` | `services: []` balances nothing",
            ],
        ),
        (
            "services without a value",
            "services:\n",
            &[
                "1:9 expected a list, found nothing | give it a value, or remove the line",
            ],
        ),
        (
            "services as fields",
            "services: { web: { listen: [198.18.0.1:80] } }\n",
            &[
                "1:11 expected a list, found fields | every element of a list begins with `- `",
            ],
        ),
        (
            "a service that is text",
            "services: [web]\n",
            &[
                "1:12 expected the fields of a service, found `web` | the fields are `name`, `listen`, `policy`, `health`, `affinity`, `sources`, `backends`",
            ],
        ),
        (
            "an unknown field",
            "services: []
limit: { conns: 1 }
",
            &[
                "2:1 unknown field `limit` in the configuration | did you mean `limits`?",
            ],
        ),
        (
            "an unknown field far from all",
            "services: []
zzz: 1
",
            &[
                "2:1 unknown field `zzz` in the configuration | the fields are `interfaces`, `attach`, `services`, `admin`, `timeouts`, `limits`, `hairpin`, `drain`",
            ],
        ),
        (
            "an underscore in a field",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: { client_ip: 3h }
",
            &[
                "4:17 unknown field `client_ip` in an affinity | did you mean `client-ip`?",
            ],
        ),
        (
            "the wrong case of a field",
            "Services: []\n",
            &[
                "1:1 unknown field `Services` in the configuration | did you mean `services`?",
            ],
        ),
        (
            "containers as backends",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    docker: { label: app=web }
",
            &[
                "4:5 unknown field `docker` in a service | backends cannot be taken from containers; list their addresses in `backends`",
            ],
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
            &[
                "2:3 the name of a field must be text",
            ],
        ),
        (
            "a field twice",
            "services: []
attach: tc
attach: xdp
",
            &[
                "3:1 `attach` is given twice, first in line 2",
            ],
        ),
        (
            "a field twice in a service",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: maglev
    policy: p2c
",
            &[
                "5:5 `policy` is given twice, first in line 4",
            ],
        ),
        (
            "a list for a word",
            "services: []
attach: [tc]
",
            &[
                "2:9 expected one value, found a list",
            ],
        ),
        (
            "a word for a list",
            "services: [{ name: web, listen: 198.18.0.1:80 }]\n",
            &[
                "1:33 expected a list, found `198.18.0.1:80` | in brackets it is one: `[198.18.0.1:80]`",
            ],
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
                "4:11 expected the fields of a health check, found nothing | the fields are `tcp`, `http`, `interval`, `timeout`, `rise`, `fall`, `port`",
            ],
        ),
        (
            "nothing for a word",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: ~
",
            &[
                "4:13 expected one value, found nothing | give it a value, or remove the line",
            ],
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
    ]);
}

#[test]
fn services() {
    check(&[
        (
            "no name",
            "services: [{ listen: [198.18.0.1:80] }]\n",
            &[
                "1:12 this service has no `name`",
            ],
        ),
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
            &[
                "3:13 the name `web` is taken by the service in line 2",
            ],
        ),
        (
            "an unknown policy",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: maglv
",
            &[
                "4:13 unknown policy `maglv` | did you mean `maglev`?",
            ],
        ),
        (
            "a policy of no kind",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: fastest
",
            &[
                "4:13 unknown policy `fastest` | one of `shortest-delay`, `maglev`, `source-hash`, `round-robin`, `weighted-round-robin`, `random`, `least-connections`, `weighted-least-connections`, `p2c`",
            ],
        ),
        (
            "the adaptive policy",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    policy: adaptive
",
            &[
                "4:13 policy `adaptive` is not available | `shortest-delay` is the nearest: it knows flows and weights, but no live load",
            ],
        ),
        (
            "an affinity without its field",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: {}
",
            &[
                "4:15 this affinity has no `client-ip` | such as `{ client-ip: 3h }`",
            ],
        ),
        (
            "an affinity of no time",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: { client-ip: 0s }
",
            &[
                "4:28 `0s` is no time at all | a duration is at least `1ms`",
            ],
        ),
        (
            "an affinity beyond a week",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    affinity: { client-ip: 8d }
",
            &[
                "4:28 `8d` is more than 7 days",
            ],
        ),
        (
            "sources without their field",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: {}
",
            &[
                "4:14 these sources have no `allow` | without `sources` everybody may connect",
            ],
        ),
        (
            "sources that allow nobody",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: [] }
",
            &[
                "4:23 `allow` is empty, so nobody may connect | without `sources` everybody may connect",
            ],
        ),
        (
            "a source without a prefix length",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    sources: { allow: [198.18.0.1] }
",
            &[
                "4:24 `198.18.0.1` has no prefix length | `198.18.0.1/32`",
            ],
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
            &[
                "4:24 `::ffff:198.18.0.0/112` is an IPv4-mapped address | write it as an IPv4 network",
            ],
        ),
    ]);
}

#[test]
fn listen_addresses() {
    check(&[
        (
            "no listen",
            "services: [{ name: web }]\n",
            &[
                "1:12 this service has no `listen` | such as `listen: [198.18.0.1:80/tcp]`",
            ],
        ),
        (
            "an empty listen",
            "services: [{ name: web, listen: [] }]\n",
            &[
                "1:33 this service has no `listen` | such as `listen: [198.18.0.1:80/tcp]`",
            ],
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
            &[
                "1:34 `65536` is not a port; ports run from 1 to 65535",
            ],
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
            &[
                "1:34 port range `90-80` ends before it begins | `80-90`",
            ],
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
            &[
                "1:34 `\"\"` is not an IP address | such as `198.18.0.1:80` or `[fd00::1]:80`",
            ],
        ),
        (
            "a name for an address",
            "services: [{ name: web, listen: [example.org:80] }]\n",
            &[
                "1:34 `example.org` is not an IP address | names are not resolved; write the address",
            ],
        ),
        (
            "no such IPv4 address",
            "services: [{ name: web, listen: [198.18.0.256:80] }]\n",
            &[
                "1:34 `198.18.0.256` is not an IP address | such as `198.18.0.1:80` or `[fd00::1]:80`",
            ],
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
            &[
                "1:34 `[fd00::1:80` is not an IP address | such as `198.18.0.1:80` or `[fd00::1]:80`",
            ],
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
            &[
                "1:34 `[::ffff:198.18.0.1]:80` is an IPv4-mapped address | write it as `198.18.0.1`",
            ],
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
            &[
                "5:9 `198.18.0.1:80/tcp` is listened on twice, first in line 4",
            ],
        ),
        (
            "an address and port in two services",
            "services:
  - { name: a, listen: [198.18.0.1:80] }
  - { name: b, listen: [198.18.0.1:80] }
",
            &[
                "3:25 `198.18.0.1:80/tcp` is listened on twice, first in line 2",
            ],
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
            &[
                "3:25 `198.18.0.1:150/tcp` overlaps `198.18.0.1:100-200/tcp` in line 2",
            ],
        ),
    ]);
}

#[test]
fn backends() {
    check(&[
        (
            "no address",
            "services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
      - { weight: 1 }
",
            &[
                "5:9 this backend has no `address`",
            ],
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
            &[
                "5:20 `0` is not a port; ports run from 1 to 65535",
            ],
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
            &[
                "5:20 `web1` is not an IP address | names are not resolved; write the address",
            ],
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
            &[
                "6:20 `fd00::2:x` is not an IP address | an IPv6 address has brackets: `[fd00::2]:x`",
            ],
        ),
        (
            "a wrong listen is no missing family",
            "services:
  - name: web
    listen: [198.18.0.1:80, '[fd00::1]:x']
    backends:
      - { address: '[fd00::2]:80' }
",
            &[
                "3:29 `x` is not a port; ports run from 1 to 65535",
            ],
        ),
    ]);
}

#[test]
fn health_checks() {
    check(&[
        (
            "neither kind",
            "services: [{ name: web, listen: ['198.18.0.1:80'], health: { interval: 1s } }]\n",
            &[
                "1:60 this health check is neither `tcp` nor `http` | `tcp: true`, or `http: /path`",
            ],
        ),
        (
            "both kinds",
            "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, http: / } }]\n",
            &[
                "1:60 this health check is both `tcp` and `http`",
            ],
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
            &[
                "1:68 path `healthz` does not begin with `/`",
            ],
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
            "port 0",
            "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, port: 0 } }]\n",
            &[
                "1:79 `0` is not a port; ports run from 1 to 65535",
            ],
        ),
        (
            "a timeout beyond the interval",
            "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, interval: 1s, timeout: 1500ms } }]\n",
            &[
                "1:96 timeout 1.5s is longer than the interval, 1s",
            ],
        ),
        (
            "a timeout beyond the default interval",
            "services: [{ name: web, listen: ['198.18.0.1:80'], health: { tcp: true, timeout: 3s } }]\n",
            &[
                "1:82 timeout 3s is longer than the interval, 2s",
            ],
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
    ]);
}

#[test]
fn host() {
    check(&[
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
    ]);
}
