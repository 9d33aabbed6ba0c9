//! What is compared, what is done with it, and what is measured.

use std::path::Path;

use super::peers;
use crate::engine;

/// The way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The real program at TC.
    Weir,
    /// The same once more: the difference is noise.
    Again,
    /// The same over IPv6.
    Weir6,
    /// The real program at TC, out of the backend's link by its MAC address.
    Link,
    /// The real program at TC, and the host's stack finds the way.
    Stack,
    /// The real program at XDP, for datagrams from a driver only.
    Xdp,
    /// A program at XDP that does nothing but send datagrams on, to the backends by their clients' addresses.
    Redirect,
    /// DNAT by nftables, backends in turn.
    Nft,
    /// The same over IPv6.
    Nft6,
    /// DNAT by iptables, backends in turn by the statistic match.
    Iptables,
    /// The kernel's own balancer.
    Ipvs,
    /// A process that carries every byte: `HAProxy`.
    Haproxy,
    /// The same with nginx (stream).
    Nginx,
    /// No balancer: to the backends' own addresses.
    Routing,
    /// Weir with so many services; the one that is asked came last.
    WeirOf(u16),
    /// nftables with so many services, found by a map.
    NftOf(u16),
    /// iptables with so many services, a rule after the other.
    IptablesOf(u16),
    /// The real program with one backend, as Docker has one behind a port.
    One,
    /// A container whose port a real engine publishes (`docker run -p`).
    Docker,
    /// The same, called from the host's loopback: by way of a process.
    Proxy,
    /// A process of the host calls the VIP: hooks at its sockets, one backend.
    Host,
    /// A process of the host calls one backend at its own address: nothing is on the way.
    Direct,
}

impl Kind {
    /// All of them, with these numbers of services.
    pub(super) fn all(services: &[u16]) -> Vec<Self> {
        let mut all = vec![
            Self::Weir,
            Self::Again,
            Self::Weir6,
            Self::Link,
            Self::Stack,
            Self::Xdp,
            Self::Redirect,
            Self::Nft,
            Self::Nft6,
            Self::Iptables,
            Self::Ipvs,
            Self::Haproxy,
            Self::Nginx,
            Self::Routing,
        ];
        let many =
            |count: &u16| [Self::WeirOf(*count), Self::NftOf(*count), Self::IptablesOf(*count)];
        all.extend(services.iter().flat_map(many));
        all.extend([Self::One, Self::Docker, Self::Proxy, Self::Host, Self::Direct]);
        all
    }

    /// Why it cannot be had on this machine, if so.
    pub(super) fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::One | Self::Docker | Self::Proxy | Self::Host => {
                (!engine::is_installed()).then_some("there is no Docker engine here")
            }
            Self::Ipvs if !Path::new("/proc/net/ip_vs").exists() => Some("this kernel has no IPVS"),
            Self::Ipvs => (!engine::finds("ipvsadm")).then_some("ipvsadm is not installed"),
            Self::Iptables | Self::IptablesOf(_) => {
                (!engine::finds("iptables-restore")).then_some("iptables is not installed")
            }
            Self::Haproxy => (!engine::finds("haproxy")).then_some("HAProxy is not installed"),
            Self::Nginx => peers::nginx_stream().is_none().then_some("nginx has no stream module"),
            Self::Weir
            | Self::Again
            | Self::Weir6
            | Self::Link
            | Self::Stack
            | Self::Xdp
            | Self::Redirect
            | Self::Nft
            | Self::Nft6
            | Self::Routing
            | Self::Direct
            | Self::WeirOf(_)
            | Self::NftOf(_) => None,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Weir => "weir".to_owned(),
            Self::Again => "weir again".to_owned(),
            Self::Weir6 => "weir v6".to_owned(),
            Self::Link => "weir, by link".to_owned(),
            Self::Stack => "weir, by the stack".to_owned(),
            Self::Xdp => "weir at xdp".to_owned(),
            Self::Redirect => "redirect at xdp".to_owned(),
            Self::Nft => "nft".to_owned(),
            Self::Nft6 => "nft v6".to_owned(),
            Self::Iptables => "iptables".to_owned(),
            Self::Ipvs => "ipvs".to_owned(),
            Self::Haproxy => "haproxy".to_owned(),
            Self::Nginx => "nginx stream".to_owned(),
            Self::Routing => "routing".to_owned(),
            Self::WeirOf(count) => format!("weir, {count} services"),
            Self::NftOf(count) => format!("nft, {count} services"),
            Self::IptablesOf(count) => format!("iptables, {count} services"),
            Self::One => "weir, one backend".to_owned(),
            Self::Docker => "docker -p".to_owned(),
            Self::Proxy => "docker-proxy".to_owned(),
            Self::Host => "weir, from the host".to_owned(),
            Self::Direct => "direct, from the host".to_owned(),
        }
    }

    /// How many services there are besides those that are asked.
    pub(super) const fn others(self) -> u16 {
        if let Self::WeirOf(count) | Self::NftOf(count) | Self::IptablesOf(count) = self {
            count.saturating_sub(1)
        } else {
            0
        }
    }

    /// Whether backends are called at their own addresses.
    pub(super) const fn is_direct(self) -> bool {
        matches!(self, Self::Redirect | Self::Routing | Self::Direct)
    }

    pub(super) const fn is_v6(self) -> bool {
        matches!(self, Self::Weir6 | Self::Nft6)
    }
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Datagrams,
    NewDatagrams,
    KeepAlive,
    OneEach,
    Large,
    Bulk,
    Latency,
    OpenLoop,
    Check,
}

impl Task {
    pub(super) const ALL: [Self; 9] = [
        Self::Datagrams,
        Self::NewDatagrams,
        Self::KeepAlive,
        Self::OneEach,
        Self::Large,
        Self::Bulk,
        Self::Latency,
        Self::OpenLoop,
        Self::Check,
    ];

    /// All names, for who gave another one.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Datagrams => "datagrams",
            Self::NewDatagrams => "datagrams of new flows",
            Self::KeepAlive => "keep-alive",
            Self::OneEach => "one connection each",
            Self::Large => "large answers",
            Self::Bulk => "bulk",
            Self::Latency => "latency",
            Self::OpenLoop => "fixed rate",
            Self::Check => "check of the tools",
        }
    }

    /// HTTP load knows one address only, and bulk and latency need no second opinion.
    pub(super) const fn has(self, kind: Kind) -> bool {
        use Kind::{
            Again, Direct, Docker, Haproxy, Host, Iptables, IptablesOf, Ipvs, Link, Nft, Nft6,
            NftOf, Nginx, One, Proxy, Redirect, Routing, Stack, Weir, Weir6, WeirOf, Xdp,
        };
        let many = matches!(kind, WeirOf(_) | NftOf(_) | IptablesOf(_));
        match self {
            Self::Datagrams => {
                matches!(kind, Weir | Again | Link | Stack | Xdp | Redirect | Nft)
                    || matches!(kind, Iptables | Routing)
            }
            Self::NewDatagrams => matches!(kind, Weir | Xdp | Nft | Iptables),
            Self::KeepAlive | Self::OneEach => !matches!(kind, Routing | Xdp | Redirect),
            Self::Large => matches!(kind, Weir | Nft | Iptables | Ipvs | Haproxy | Nginx),
            Self::Bulk => matches!(kind, Weir | Nft | Iptables | Routing | Haproxy | Nginx),
            Self::Latency => {
                !many
                    && !matches!(kind, Again | Link | Stack | Xdp | Redirect)
                    && !matches!(kind, Proxy | Host | Direct)
            }
            Self::OpenLoop => {
                matches!(kind, Weir | Again | Weir6 | Nft | Nft6 | Iptables | Ipvs)
                    || matches!(kind, Haproxy | Nginx | One | Docker)
            }
            Self::Check => matches!(kind, Weir),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    DatagramCpu,
    NewDatagramCpu,
    KeepAliveCpu,
    KeepAliveRate,
    OneEachCpu,
    OneEachRate,
    LargeCpu,
    LargeRate,
    BulkRate,
    BulkCpu,
    Latency,
    OpenP50,
    OpenP99,
    OpenP999,
    /// The same answer by our client and by wrk.
    CheckOurs,
    CheckWrk,
}

impl Metric {
    pub(super) const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::DatagramCpu => ("CPU a datagram", "us"),
            Self::NewDatagramCpu => ("CPU a datagram of a new flow", "us"),
            Self::KeepAliveCpu => ("CPU a request, keep-alive", "us"),
            Self::KeepAliveRate => ("requests, keep-alive", "/s"),
            Self::OneEachCpu => ("CPU a request, one connection each", "us"),
            Self::OneEachRate => ("requests, one connection each", "/s"),
            Self::LargeCpu => ("CPU a request, 64 KiB answers", "us"),
            Self::LargeRate => ("requests, 64 KiB answers", "/s"),
            Self::BulkRate => ("bulk", "Mbit/s"),
            Self::BulkCpu => ("CPU a megabyte, bulk", "us"),
            Self::Latency => ("answer on one connection, median", "us"),
            Self::OpenP50 => ("answer at a fixed rate, median", "us"),
            Self::OpenP99 => ("answer at a fixed rate, 99 %", "us"),
            Self::OpenP999 => ("answer at a fixed rate, 99.9 %", "us"),
            Self::CheckOurs => ("answer on one connection, our client", "us"),
            Self::CheckWrk => ("answer on one connection, wrk", "us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked_something_and_has_a_name_of_its_own() {
        let all = Kind::all(&[1_000, 10_000]);
        let names: std::collections::BTreeSet<String> = all.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), all.len());
        for kind in all {
            assert!(Task::ALL.iter().any(|task| task.has(kind)), "{kind:?}");
        }
        assert_eq!(Kind::WeirOf(1_000).others(), 999);
        assert_eq!(Kind::Weir.others(), 0);
    }
}
