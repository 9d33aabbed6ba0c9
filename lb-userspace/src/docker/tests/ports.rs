//! Rows about published ports and several services of a container. The host has the addresses
//! 198.18.0.1 and `fd00:18::1`, automatic ports are 40000 to 40002, and somebody listens on port 22.

use super::Row;

/// A service of the file.
const FILE: &str = "  - name: web
    listen: [198.18.0.9:8080, 198.18.0.9:40001]
    docker: { label: app=web, port: 80 }
";

pub(super) const ROWS: &[Row<'_>] = &[
    (
        "a port of docker run -p",
        "",
        &["a net=n:198.18.144.2 -p=8080:80 weir.enable=true"],
        &[
            "a: published",
            "a at 127.0.0.1:8080/tcp 198.18.0.1:8080/tcp adaptive -> 198.18.144.2:80*1",
        ],
    ),
    (
        "the families are those of the containers",
        "",
        &[
            "a net=n:198.18.144.2 -p=8080:80 weir.enable=true weir.service=web",
            "b net=n:198.18.144.3,fd00:18:10::3 weir.enable=true weir.service=web",
            "c net=n:fd00:18:10::4 -p=0.0.0.0+8081:80 weir.enable=true",
        ],
        &[
            "a: published",
            "b: published",
            "c: refused, it has no IPv4 address, and service c listens on no other",
            "web at 127.0.0.1:8080/tcp 198.18.0.1:8080/tcp [::1]:8080/tcp [fd00:18::1]:8080/tcp adaptive -> 198.18.144.2:80*1 198.18.144.3:80*1 [fd00:18:10::3]:80*1",
        ],
    ),
    (
        "ports with an address; what is on loopback alone is for processes of the host",
        "",
        &[
            "a net=n:198.18.144.2 -p=198.18.0.7+8080:80 weir.enable=true",
            "b net=n:198.18.144.3 -p=127.0.0.1+8080:80 weir.enable=true",
            "c net=n:198.18.144.4 weir.enable=true weir.publish=127.0.0.1:53:53/udp weir.sources=198.18.0.0/15",
        ],
        &[
            "a: published",
            "b: published",
            "c: published",
            "a at 198.18.0.7:8080/tcp adaptive -> 198.18.144.2:80*1",
            "b at 127.0.0.1:8080/tcp adaptive from 127.0.0.0/8 from ::1/128 -> 198.18.144.3:80*1",
            "c at 127.0.0.1:53/udp adaptive from 127.0.0.0/8 from ::1/128 -> 198.18.144.4:53*1",
        ],
    ),
    (
        "several ports are several services",
        "",
        &[
            "a net=n:198.18.144.2 -p=8080:80 -p=8443:443 -p=53:53/udp -p=9080:80 weir.enable=true weir.service=web weir.policy=maglev",
        ],
        &[
            "a: published",
            "web.80 at 127.0.0.1:8080/tcp 127.0.0.1:9080/tcp 198.18.0.1:8080/tcp 198.18.0.1:9080/tcp maglev -> 198.18.144.2:80*1",
            "web.443 at 127.0.0.1:8443/tcp 198.18.0.1:8443/tcp maglev -> 198.18.144.2:443*1",
            "web.53-udp at 127.0.0.1:53/udp 198.18.0.1:53/udp maglev -> 198.18.144.2:53*1",
        ],
    ),
    (
        "of several ports, weir.port says which",
        "",
        &["a net=n:198.18.144.2 -p=8080:80 -p=8443:443 weir.enable=true weir.port=443"],
        &[
            "a: published",
            "a at 127.0.0.1:8443/tcp 198.18.0.1:8443/tcp adaptive -> 198.18.144.2:443*1",
        ],
    ),
    (
        "a range keeps its numbers, and its check needs a port",
        "",
        &[
            "a net=n:198.18.144.2 -p=7000-7099:7000-7099/udp weir.enable=true",
            "b net=n:198.18.144.3 weir.enable=true weir.publish=198.18.0.1:7100-7199:7100-7199 weir.health.tcp=true",
            "c net=n:198.18.144.4 weir.enable=true weir.publish=8000-8001:80-81 weir.sources=198.18.0.0/15",
        ],
        &[
            "a: published",
            "b: refused, service b has a health check, and nothing says which port to probe: set weir.health.port",
            "c: published",
            "a at 127.0.0.1:7000-7099/udp 198.18.0.1:7000-7099/udp adaptive -> 198.18.144.2:0*1",
            "c.80 at 127.0.0.1:8000/tcp 198.18.0.1:8000/tcp adaptive from 198.18.0.0/15 -> 198.18.144.4:80*1",
            "c.81 at 127.0.0.1:8001/tcp 198.18.0.1:8001/tcp adaptive from 198.18.0.0/15 -> 198.18.144.4:81*1",
        ],
    ),
    (
        "replicas share what each of them was created with",
        "",
        &[
            "a net=n:198.18.144.2 -p=8081:80 weir.enable=true weir.service=web",
            "b net=n:198.18.144.3 -p=8082:80 weir.enable=true weir.service=web",
        ],
        &[
            "a: published",
            "b: published",
            "web at 127.0.0.1:8081/tcp 127.0.0.1:8082/tcp 198.18.0.1:8081/tcp 198.18.0.1:8082/tcp adaptive -> 198.18.144.2:80*1 198.18.144.3:80*1",
        ],
    ),
    (
        "labels come before what a container was created with, and weir.listen before all",
        "",
        &[
            "a net=n:198.18.144.2 -p=8081:80 weir.enable=true weir.publish=8080:80",
            "b net=n:198.18.144.3 -p=8082:80 weir.enable=true weir.listen=198.18.0.2:80 weir.port=80",
        ],
        &[
            "a: published",
            "b: published",
            "a at 127.0.0.1:8080/tcp 198.18.0.1:8080/tcp adaptive -> 198.18.144.2:80*1",
            "b at 198.18.0.2:80/tcp adaptive -> 198.18.144.3:80*1",
        ],
    ),
    (
        "all addresses in weir.listen",
        "",
        &["a net=n:198.18.144.2,fd00:18:10::2 expose=80 weir.enable=true weir.listen=0.0.0.0:80"],
        &["a: published", "a at 127.0.0.1:80/tcp 198.18.0.1:80/tcp adaptive -> 198.18.144.2:80*1"],
    ),
    (
        "automatic ports: the same for all addresses, and never one that somebody names",
        "",
        &[
            "a net=n:198.18.144.2 -P expose=80 expose=53/udp weir.enable=true",
            "b net=n:198.18.144.3 weir.enable=true weir.publish=40000:80",
            "c net=n:198.18.144.4 -p=:80 weir.enable=true",
            "d net=n:198.18.144.5 weir.enable=true weir.listen=auto weir.port=80",
        ],
        &[
            "a: published",
            "b: published",
            "c: published",
            "d: refused, service d wants an automatic port, and none of 40000-40002 is free",
            "a.80 at 127.0.0.1:40001/tcp 198.18.0.1:40001/tcp adaptive -> 198.18.144.2:80*1",
            "a.53-udp at 127.0.0.1:40002/udp 198.18.0.1:40002/udp adaptive -> 198.18.144.2:53*1",
            "b at 127.0.0.1:40000/tcp 198.18.0.1:40000/tcp adaptive -> 198.18.144.3:80*1",
            "c at 127.0.0.1:40002/tcp 198.18.0.1:40002/tcp adaptive -> 198.18.144.4:80*1",
        ],
    ),
    (
        "automatic ports keep away from those of the file",
        FILE,
        &["a net=n:198.18.144.2 weir.enable=true weir.publish=40002-40002:80,40001-40002:81,443"],
        &[
            "a: refused, service a.81 wants an automatic port, and none of 40001-40002 is free",
            "web at 198.18.0.9:8080/tcp 198.18.0.9:40001/tcp adaptive -> ",
        ],
    ),
    (
        "a range for one port means any one of it",
        FILE,
        &["a net=n:198.18.144.2 weir.enable=true weir.publish=40000-40001:81,443"],
        &[
            "a: published",
            "web at 198.18.0.9:8080/tcp 198.18.0.9:40001/tcp adaptive -> ",
            "a.81 at 127.0.0.1:40000/tcp 198.18.0.1:40000/tcp adaptive -> 198.18.144.2:81*1",
            "a.443 at 127.0.0.1:40002/tcp 198.18.0.1:40002/tcp adaptive -> 198.18.144.2:443*1",
        ],
    ),
    (
        "a port that somebody listens on",
        "",
        &[
            "a net=n:198.18.144.2 weir.enable=true weir.publish=22:22",
            "b net=n:198.18.144.3 weir.enable=true weir.publish=20-30:20-30",
            "c net=n:198.18.144.4 -p=22:22 weir.enable=true",
        ],
        &[
            "a: refused, service a wants port 22/tcp of this host, which another process has",
            "b: refused, service b wants port 20-30/tcp of this host, which another process has",
            "c: published",
            "c at 127.0.0.1:22/tcp 198.18.0.1:22/tcp adaptive -> 198.18.144.4:22*1",
        ],
    ),
    (
        "a port that Docker has for a container of the service itself",
        "",
        &[
            "a net=n:198.18.144.2 -p=22:80 weir.enable=true weir.service=web weir.listen=198.18.0.1:22 weir.port=80",
            "b net=n:198.18.144.3 weir.enable=true weir.service=web weir.port=80",
            "c net=n:198.18.144.4 -p=22:80/udp weir.enable=true weir.publish=22:80",
            "d net=n:198.18.144.5 weir.enable=true weir.publish=22:80",
            "e net=n:198.18.144.6 -p=127.0.0.1+20-24:20-24 weir.enable=true weir.publish=127.0.0.1:22:80",
        ],
        &[
            "a: published",
            "b: published",
            "c: refused, service c wants port 22/tcp of this host, which another process has",
            "d: refused, service d wants port 22/tcp of this host, which another process has",
            "e: published",
            "web at 198.18.0.1:22/tcp adaptive -> 198.18.144.2:80*1 198.18.144.3:80*1",
            "e at 127.0.0.1:22/tcp adaptive from 127.0.0.0/8 from ::1/128 -> 198.18.144.6:80*1",
        ],
    ),
    (
        "a port that another service has",
        "",
        &[
            "a net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.0.1:8080",
            "b net=n:198.18.144.3 weir.enable=true weir.publish=8080:80",
            "c net=n:198.18.144.4 weir.enable=true weir.publish=198.18.0.2:8080:80",
        ],
        &[
            "a: published",
            "b: refused, service b wants 198.18.0.1:8080/tcp, which service a has",
            "c: published",
            "a at 198.18.0.1:8080/tcp adaptive -> 198.18.144.2:80*1",
            "c at 198.18.0.2:8080/tcp adaptive -> 198.18.144.4:80*1",
        ],
    ),
    (
        "nothing to publish",
        "",
        &[
            "a net=n:198.18.144.2 -P weir.enable=true",
            "b net=n:198.18.144.3 weir.enable=true weir.listen=auto",
            "c net=n:198.18.144.4 -p=8080:80 weir.enable=true weir.port=81",
        ],
        &[
            "a: refused, where does service a listen? it is not in the configuration, and none of its containers has weir.listen, weir.publish or a port of Docker's -p",
            "b: refused, service b has automatic ports for what the image exposes, and that is nothing: set weir.port",
            "c: refused, where does service c listen? it is not in the configuration, and none of its containers has weir.listen, weir.publish or a port of Docker's -p",
        ],
    ),
    (
        "the newest container says which ports a service publishes",
        "",
        &[
            "a net=n:198.18.144.2 weir.enable=true weir.service=web weir.publish=8080:80",
            "b net=n:198.18.144.3 weir.enable=true weir.service=web weir.publish=8080:80,8443:443",
            "c net=n:198.18.144.4 weir.enable=true weir.service=web",
            "d net=n:198.18.144.5 weir.enable=true weir.service=web -p=9000:90",
        ],
        &[
            "a: published",
            "b: published",
            "c: published",
            "d: refused, it publishes none of the ports of service web, whose newest container says which these are",
            "web.80 at 127.0.0.1:8080/tcp 198.18.0.1:8080/tcp adaptive -> 198.18.144.2:80*1 198.18.144.3:80*1 198.18.144.4:80*1",
            "web.443 at 127.0.0.1:8443/tcp 198.18.0.1:8443/tcp adaptive -> 198.18.144.3:443*1 198.18.144.4:443*1",
        ],
    ),
    (
        "the ports of a container that joins a service of the file are its own business",
        FILE,
        &[
            "a net=n:198.18.144.2 -p=9000:80 weir.enable=true weir.service=web",
            "b net=n:198.18.144.3 -p=9001:80 app=web weir.publish=9001:80",
        ],
        &[
            "a: refused, which port? set weir.port: the image exposes no tcp port",
            "b: refused, service web is in the configuration, which decides: remove weir.publish",
            "web at 198.18.0.9:8080/tcp 198.18.0.9:40001/tcp adaptive -> ",
        ],
    ),
    (
        "several services of one container",
        FILE,
        &[
            "a net=n:198.18.144.2 expose=80 weir.enable=true weir.services.shop.publish=80:80 weir.services.shop.weight=3 weir.services.shop.policy=maglev weir.services.admin.listen=127.0.0.1:9000 weir.services.admin.port=9000 weir.services.web.port=81 weir.services.web.weight=2",
            "b net=n:198.18.144.3 weir.enable=true weir.services.shop.weight=2 weir.services.web.policy=random",
        ],
        &[
            "a: published",
            "b: refused, service web is in the configuration, which decides: remove weir.services.web.policy; which port? set weir.port: the image exposes no tcp port",
            "web at 198.18.0.9:8080/tcp 198.18.0.9:40001/tcp adaptive -> 198.18.144.2:81*2",
            "admin at 127.0.0.1:9000/tcp adaptive from 127.0.0.0/8 from ::1/128 -> 198.18.144.2:9000*1",
            "shop at 127.0.0.1:80/tcp 198.18.0.1:80/tcp maglev -> 198.18.144.2:80*3",
        ],
    ),
    (
        "several services, each with its part of what the container was created with",
        "",
        &[
            "a net=n:198.18.144.2 -p=8080:80 -p=9000:90 weir.enable=true weir.services.web.port=80 weir.services.admin.port=90",
        ],
        &[
            "a: published",
            "admin at 127.0.0.1:9000/tcp 198.18.0.1:9000/tcp adaptive -> 198.18.144.2:90*1",
            "web at 127.0.0.1:8080/tcp 198.18.0.1:8080/tcp adaptive -> 198.18.144.2:80*1",
        ],
    ),
    (
        "one of several services that is wrong keeps the container out",
        "",
        &[
            "a net=n:198.18.144.2 expose=80 weir.enable=true weir.services.web.publish=8080:80 weir.services.admin.port=90",
        ],
        &[
            "a: refused, where does service admin listen? it is not in the configuration, and none of its containers has weir.listen, weir.publish or a port of Docker's -p",
        ],
    ),
];
