//! The table.

use super::Row;

/// A service of the file that chooses containers.
const CHOOSES: &str = "  - name: web
    listen: [198.18.0.1:80]
    policy: maglev
    docker: { label: app=web, port: 8080 }
";

/// A service of the file with a backend of its own.
const LISTS: &str = "  - name: web
    listen: [198.18.0.1:80]
    backends: [{ address: 198.18.128.9:8080 }]
";

pub(super) const ROWS: &[Row<'_>] = &[
    ("no containers", CHOOSES, &[], &["web at 198.18.0.1:80/tcp maglev -> "]),
    (
        "two replicas",
        "",
        &[
            "a net=bridge:198.18.128.2 expose=80 weir.enable=true weir.service=web weir.listen=198.18.0.1:80",
            "b net=bridge:198.18.128.3 expose=80 weir.enable=true weir.service=web weir.weight=2",
        ],
        &[
            "a: published",
            "b: published",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.2:80*1 198.18.128.3:80*2",
        ],
    ),
    (
        "a Compose service names the service, else the container does",
        "",
        &[
            "p-web-1 net=n:198.18.144.2 weir.enable=true weir.listen=198.18.0.1:80 weir.port=80 com.docker.compose.service=web",
            "solo net=n:198.18.144.3 weir.enable=true weir.listen=198.18.0.2:80 weir.port=80",
        ],
        &[
            "p-web-1: published",
            "solo: published",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.144.2:80*1",
            "solo at 198.18.0.2:80/tcp adaptive -> 198.18.144.3:80*1",
        ],
    ),
    (
        "a service of the file chooses by a label",
        CHOOSES,
        &[
            "a net=bridge:198.18.128.2 app=web",
            "b net=bridge:198.18.128.3 app=web weir.port=9090 weir.weight=5",
            "c net=bridge:198.18.128.4 app=db",
            "d net=bridge:198.18.128.5 app=web weir.enable=false",
        ],
        &[
            "a: published",
            "b: published",
            "c: ignored, it has no label weir.enable=true, and no service chooses it",
            "d: ignored, its label weir.enable is false",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.128.2:8080*1 198.18.128.3:9090*5",
        ],
    ),
    (
        "a container joins a service of the file beside its own backend",
        LISTS,
        &["a net=bridge:198.18.128.2 expose=8080 weir.enable=true weir.service=web"],
        &[
            "a: published",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.2:8080*1 198.18.128.9:8080*1",
        ],
    ),
    (
        "labels cannot overrule the file",
        LISTS,
        &[
            "a net=bridge:198.18.128.2 expose=80 weir.enable=true weir.service=web weir.policy=random weir.listen=198.18.0.9:80",
        ],
        &[
            "a: refused, service web is in the configuration, which decides: remove weir.listen; service web is in the configuration, which decides: remove weir.policy",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.9:8080*1",
        ],
    ),
    (
        "a backend that the file lists already",
        LISTS,
        &["a net=bridge:198.18.128.9 expose=8080 weir.enable=true weir.service=web"],
        &[
            "a: refused, 198.18.128.9:8080 is a backend already: service web of the configuration lists it",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.9:8080*1",
        ],
    ),
    (
        "the newest container decides for its service",
        "",
        &[
            "a net=n:198.18.144.2 expose=80 weir.enable=true weir.service=web weir.listen=198.18.0.1:80 weir.policy=random",
            "b net=n:198.18.144.3 expose=80 weir.enable=true weir.service=web weir.policy=maglev weir.health.tcp=true",
            "c net=n:198.18.144.4 expose=80 weir.enable=true weir.service=web",
        ],
        &[
            "a: published",
            "b: published",
            "c: published",
            "web at 198.18.0.1:80/tcp maglev checked -> 198.18.144.2:80*1 198.18.144.3:80*1 198.18.144.4:80*1",
        ],
    ),
    (
        "labels with mistakes, all of them named, and the rest keeps working",
        "",
        &[
            "bad net=n:198.18.144.2 weir.enable=true weir.service=web weir.listen=198.18.0.1:80 weir.port=http weir.wieght=2",
            "good net=n:198.18.144.3 weir.enable=true weir.service=web weir.listen=198.18.0.1:80 weir.port=80",
        ],
        &[
            "bad: refused, label weir.port: `http` is not a port; ports run from 1 to 65535; label weir.wieght: there is no such label (did you mean `weir.weight`?)",
            "good: published",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.144.3:80*1",
        ],
    ),
    (
        "a misspelled enable is a mistake and no silence",
        "",
        &["a net=n:198.18.144.2 weir.enabel=true weir.listen=198.18.0.1:80"],
        &["a: refused, label weir.enabel: there is no such label (did you mean `weir.enable`?)"],
    ),
    (
        "labels without enable",
        "",
        &["a net=n:198.18.144.2 weir.listen=198.18.0.1:80"],
        &[
            "a: ignored, it has labels for Weir, but not weir.enable=true, and no service chooses it",
        ],
    ),
    (
        "a name that cannot name a service",
        "",
        &["Web_1 net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.0.1:80"],
        &[
            "Web_1: refused, \"Web_1\" cannot name a service: set weir.service, 1 to 63 of a-z 0-9 - _ .",
        ],
    ),
    (
        "a service that listens nowhere",
        "",
        &["a net=n:198.18.144.2 expose=80 weir.enable=true"],
        &[
            "a: refused, where does service a listen? it is not in the configuration, and none of its containers has weir.listen, weir.publish or a port of Docker's -p",
        ],
    ),
    (
        "two services that want the same port: the older one has it",
        "",
        &[
            "old net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.0.1:80",
            "new net=n:198.18.144.3 expose=80 weir.enable=true weir.listen=198.18.0.1:70-90,198.18.0.2:80",
            "udp net=n:198.18.144.4 expose=80/udp weir.enable=true weir.listen=198.18.0.1:80/udp",
        ],
        &[
            "new: refused, service new wants 198.18.0.1:70-90/tcp, which service old has",
            "old: published",
            "udp: published",
            "old at 198.18.0.1:80/tcp adaptive -> 198.18.144.2:80*1",
            "udp at 198.18.0.1:80/udp adaptive -> 198.18.144.4:80*1",
        ],
    ),
    (
        "the file has a port before any container",
        LISTS,
        &["a net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.0.1:80"],
        &[
            "a: refused, service a wants 198.18.0.1:80/tcp, which service web has",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.9:8080*1",
        ],
    ),
    (
        "a service that nobody can serve takes no port from others",
        "",
        &[
            "old mode=none weir.enable=true weir.listen=198.18.0.1:80 weir.port=80",
            "new net=n:198.18.144.3 weir.enable=true weir.listen=198.18.0.1:80 weir.port=80",
        ],
        &[
            "new: published",
            "old: refused, network mode none: it cannot be reached",
            "new at 198.18.0.1:80/tcp adaptive -> 198.18.144.3:80*1",
        ],
    ),
    (
        "a service where a backend serves",
        LISTS,
        &["a net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.128.9:8080"],
        &[
            "a: refused, service a wants 198.18.128.9:8080/tcp, where a backend serves at 198.18.128.9:8080",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.9:8080*1",
        ],
    ),
    (
        "a container that is its own service address",
        "",
        &["a net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.144.2:80"],
        &[
            "a: refused, it serves at 198.18.144.2:80, which is the service address 198.18.144.2:80/tcp of service a",
        ],
    ),
    (
        "which port",
        "",
        &[
            "many net=n:198.18.144.2 expose=80 expose=443 expose=53/udp weir.enable=true weir.listen=198.18.0.1:80",
            "none net=n:198.18.144.3 weir.enable=true weir.listen=198.18.0.2:80",
            "other net=n:198.18.144.4 expose=53/udp weir.enable=true weir.listen=198.18.0.3:53/tcp",
            "said net=n:198.18.144.5 expose=80 expose=443 weir.port=443 weir.enable=true weir.listen=198.18.0.4:443",
        ],
        &[
            "many: refused, which port? set weir.port: the image exposes the tcp ports 80, 443",
            "none: refused, which port? set weir.port: the image exposes no tcp port",
            "other: refused, which port? set weir.port: the image exposes no tcp port",
            "said: published",
            "said at 198.18.0.4:443/tcp adaptive -> 198.18.144.5:443*1",
        ],
    ),
    (
        "behind ranges the destination port is kept, and a check needs a port then",
        "",
        &[
            "a net=n:198.18.144.2 expose=7000/udp expose=7001/udp weir.enable=true weir.listen=198.18.0.1:7000-7010/udp",
            "b net=n:198.18.144.3 weir.enable=true weir.listen=198.18.0.2:7000-7010 weir.health.tcp=true",
            "c net=n:198.18.144.4 weir.enable=true weir.listen=198.18.0.3:7000-7010 weir.health.tcp=true weir.health.port=7000",
        ],
        &[
            "a: published",
            "b: refused, service b has a health check, and nothing says which port to probe: set weir.health.port",
            "c: published",
            "a at 198.18.0.1:7000-7010/udp adaptive -> 198.18.144.2:0*1",
            "c at 198.18.0.3:7000-7010/tcp adaptive checked -> 198.18.144.4:0*1",
        ],
    ),
    (
        "a container without an address, and one in a network that gave none",
        CHOOSES,
        &["a app=web", "b net=n: app=web"],
        &[
            "a: refused, it has no address",
            "b: refused, it has no address",
            "web at 198.18.0.1:80/tcp maglev -> ",
        ],
    ),
    (
        "network modes without a network",
        CHOOSES,
        &["a mode=none net=none: app=web", "b mode=host net=host: app=web"],
        &[
            "a: refused, network mode none: it cannot be reached",
            "b: published",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.0.1:8080*1",
        ],
    ),
    (
        "a network shared with another container",
        CHOOSES,
        &[
            "owner net=n:198.18.144.2 netns=7",
            "by-id mode=container:owner0000000 netns=7 app=web",
            "by-name mode=container:owner app=web weir.port=81",
            "stale mode=container:owner netns=6 app=web weir.port=82",
            "gone mode=container:0123456789abcdef app=web",
            "still state=exited net=n:",
            "of-still mode=container:still app=web",
            "twice mode=container:by-id app=web",
            "host mode=host",
            "of-host mode=container:host app=web",
        ],
        &[
            "by-id: published",
            "by-name: published",
            "gone: refused, it shares the network of container 0123456789ab, which does not run",
            "host: ignored, it has no label weir.enable=true, and no service chooses it",
            "of-host: published",
            "of-still: refused, it shares the network of container still, which does not run",
            "owner: ignored, it has no label weir.enable=true, and no service chooses it",
            "stale: refused, it is left in the network of an earlier start of container owner: restart it",
            "still: ignored, it has no label weir.enable=true, and no service chooses it",
            "twice: refused, it shares the network of container by-id, which shares another one's",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.0.1:8080*1 198.18.144.2:8080*1 198.18.144.2:81*1",
        ],
    ),
    (
        "two containers at one place",
        CHOOSES,
        &["owner net=n:198.18.144.2 app=web", "sharer mode=container:owner app=web"],
        &[
            "owner: published",
            "sharer: refused, 198.18.144.2:8080 is a backend already: container owner",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.144.2:8080*1",
        ],
    ),
    (
        "several networks",
        CHOOSES,
        &[
            "lost net=back:198.18.145.2 net=front:198.18.144.2 app=web",
            "said net=back:198.18.145.3 net=front:198.18.144.3 app=web weir.network=front",
            "wrong net=back:198.18.145.4 app=web weir.network=front",
            "empty net=back:198.18.145.5 net=front: app=web",
            "nowhere app=web weir.network=front",
        ],
        &[
            "empty: published",
            "lost: refused, it is in several networks (back, front): say which by weir.network",
            "nowhere: refused, it is not in network \"front\"; it is in none",
            "said: published",
            "wrong: refused, it is not in network \"front\"; it is in back",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.144.3:8080*1 198.18.145.5:8080*1",
        ],
    ),
    (
        "the network that the file names, and a fixed address in it",
        "  - name: web
    listen: [198.18.0.1:80]
    docker: { label: app=web, port: 80, network: front }
",
        &["a net=back:198.18.145.2 net=front:198.18.144.77 app=web"],
        &["a: published", "web at 198.18.0.1:80/tcp adaptive -> 198.18.144.77:80*1"],
    ),
    (
        "families",
        "  - name: web
    listen: [198.18.0.1:80, '[fd00:18::1]:80']
    docker: { label: app=web, port: 80 }
  - name: six
    listen: ['[fd00:18::2]:80']
    docker: { label: app=six, port: 80 }
",
        &[
            "both net=n:198.18.144.2,fd00:18:10::2 app=web",
            "four net=n:198.18.144.3 app=web",
            "lone net=n:198.18.144.4 app=six",
        ],
        &[
            "both: published",
            "four: published",
            "lone: refused, it has no IPv6 address, and service six listens on no other",
            "web at 198.18.0.1:80/tcp [fd00:18::1]:80/tcp adaptive -> 198.18.144.2:80*1 198.18.144.3:80*1 [fd00:18:10::2]:80*1",
            "six at [fd00:18::2]:80/tcp adaptive -> ",
        ],
    ),
    (
        "what holds a backend back",
        CHOOSES,
        &[
            "a net=n:198.18.144.2 app=web state=paused health=unhealthy",
            "b net=n:198.18.144.3 app=web stopping",
            "c net=n:198.18.144.4 app=web health=starting",
            "d net=n:198.18.144.5 app=web health=unhealthy",
            "e net=n:198.18.144.6 app=web health=healthy",
        ],
        &[
            "a: held, paused",
            "b: held, told to stop",
            "c: held, Docker's health check has not passed yet",
            "d: held, Docker's health check fails",
            "e: published",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.144.2:8080*1 198.18.144.3:8080*1 198.18.144.4:8080*1 198.18.144.5:8080*1 198.18.144.6:8080*1",
        ],
    ),
    (
        "containers that do not run are backends when they do",
        CHOOSES,
        &[
            "a state=exited net=n: app=web",
            "b state=created app=web",
            "c state=restarting app=web weir.port=x",
        ],
        &[
            "a: exited",
            "b: created",
            "c: refused, label weir.port: `x` is not a port; ports run from 1 to 65535",
            "web at 198.18.0.1:80/tcp maglev -> ",
        ],
    ),
    (
        "one container in two services",
        CHOOSES,
        &[
            "a net=n:198.18.144.2 app=web weir.port=8080 weir.enable=true weir.service=api weir.listen=198.18.0.7:80",
        ],
        &[
            "a: published",
            "web at 198.18.0.1:80/tcp maglev -> 198.18.144.2:8080*1",
            "api at 198.18.0.7:80/tcp adaptive -> 198.18.144.2:8080*1",
        ],
    ),
    (
        "a number of replicas is for one service with one port, and the file decides",
        LISTS,
        &[
            "a net=bridge:198.18.128.2 expose=80 weir.enable=true weir.listen=198.18.0.2:80 weir.scale.max=4",
            "b net=bridge:198.18.128.3 weir.enable=true weir.publish=8080:80,8081:81 weir.scale.max=4",
            "web net=bridge:198.18.128.4 weir.enable=true weir.port=8080 weir.scale.max=4",
        ],
        &[
            "a: published",
            "b: refused, service b publishes several ports, which are several services: one of them may have a scale, by weir.services.NAME.scale.*",
            "web: refused, service web is in the configuration, which decides: remove weir.scale.*",
            "web at 198.18.0.1:80/tcp adaptive -> 198.18.128.9:8080*1",
            "a at 198.18.0.2:80/tcp adaptive -> 198.18.128.2:80*1",
        ],
    ),
];
