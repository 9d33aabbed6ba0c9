//! What becomes of ICMP: errors about packets of flows go to who sent these packets (RFC 5508, 4).

use std::net::IpAddr;

use super::{
    Fate,
    balancer::{Arrival, Balancer, Ended},
    config::Tunnel,
    flow::{Flow, Side},
    frame::{self, Segment},
    message::{self, Report},
    tunnel::{self, Ends},
};

impl Balancer {
    /// What becomes of a packet of ICMP.
    pub fn error(&mut self, arrival: &Arrival<'_>) -> Ended {
        let Some(report) = message::report(arrival.bytes) else { return left(arrival, "icmp") };
        // Whoever is told must have sent what is quoted.
        if report.to != report.about.from.ip() {
            return left(arrival, "icmp");
        }
        let Some((side, flow)) = self.whose(&report, arrival.now) else {
            return left(arrival, "icmp");
        };
        let whom = (flow.service, flow.id);
        let stranded = self.is_stranded(arrival, report.tagged, side, &flow);
        if !stranded && flow.client.is_ipv4() != flow.backend.is_ipv4() {
            return ("not-translated", Fate::Drop, whom, arrival.bytes.to_vec());
        }
        if report.hops <= 1 {
            return ("hop-limit", Fate::Pass, whom, arrival.bytes.to_vec());
        }
        if stranded {
            return ("no-way", Fate::Drop, whom, arrival.bytes.to_vec());
        }
        let fate = self.fate(arrival, report.tagged, side, &flow);
        if let Some(tunnel) = flow.tunnel {
            let (reason, fate, bytes) =
                self.wrapped(arrival, (report.ip, None), &flow, tunnel, fate);
            return (if reason == "forwarded" { "icmp-error" } else { reason }, fate, whom, bytes);
        }
        // Who reports is hidden where it is the other end itself.
        let hides = report.from == report.about.to.ip();
        let or = |hidden: IpAddr| if hides { hidden } else { report.from };
        let (outer, inner, macs) = match side {
            Side::Client => (
                (or(flow.seen_as.ip()), flow.backend.ip()),
                (flow.backend, flow.seen_as),
                self.config.backends[&flow.id].macs,
            ),
            Side::Backend => {
                let outer = (or(flow.vip.ip()), flow.client.ip());
                (outer, (flow.client, flow.vip), flow.came_by.macs)
            }
        };
        let macs = (fate != Fate::Pass).then_some(macs);
        let bytes = message::readdressed(arrival.bytes, &report, outer, inner, macs);
        ("icmp-error", fate, whom, bytes)
    }

    /// The flow that an error is about. It travels as the packets of the other side: that side is returned.
    fn whose(&mut self, report: &Report, now: u32) -> Option<(Side, Flow)> {
        let turned = Segment { from: report.about.to, to: report.about.from, ..report.about };
        let of = |(at, flow): (usize, &Flow)| flow.side_of(&turned).map(|side| (side, at));
        let (side, at) = self.flows.iter().enumerate().find_map(of)?;
        let flow = &self.flows[at];
        if flow.is_over(side, &self.config.timeouts, now) {
            // What only its client's packets keep nobody else ends.
            if side == Side::Client || !flow.handshake || !flow.alone {
                self.end(side, at);
            }
            return None;
        }
        // What belongs to a port that is lost hears nothing of it.
        if side == Side::Client && self.has_lost_source(&self.flows[at]) {
            self.flows[at].heard[0] = now;
            return None;
        }
        self.flows[at].hear(side, now);
        let flow = self.flows[at].clone();
        let gone = self.config.backends[&flow.id].generation != flow.generation;
        (!flow.orphan && (side == Side::Backend || !gone)).then_some((side, flow))
    }

    /// The packet at `at` of a flow whose packets travel in others; of a segment the ports and who is told that it
    /// is too large.
    pub fn wrapped(
        &self,
        arrival: &Arrival<'_>,
        (ip, segment): (usize, Option<&Segment>),
        flow: &Flow,
        tunnel: Tunnel,
        fate: Fate,
    ) -> (&'static str, Fate, Vec<u8>) {
        let backend = &self.config.backends[&flow.id];
        let v6 = backend.address.is_ipv6();
        let mut bytes = arrival.bytes.to_vec();
        frame::age(&mut bytes, ip, v6);
        let (before, mtu) = (tunnel::before(tunnel, v6), usize::from(backend.mtu));
        if frame::total(&bytes, ip, v6) + before > mtu {
            // Nobody is told about errors, nor by a fragment that is not the first.
            let told = segment.is_some_and(|segment| !segment.later()) && bytes.len() >= ip + 128;
            if !told {
                return ("too-big", Fate::Drop, bytes);
            }
            let says = message::too_big((mtu - before) as u32);
            return ("too-big", Fate::Return, message::message(&bytes, ip, 128, says));
        }
        let ports = segment.map_or((0, 0), |segment| (segment.from.port(), segment.to.port()));
        let ends = Ends {
            tunnel,
            source: backend.source,
            network: self.config.tunnel,
            backend: backend.address,
            port: self.config.gue_port,
            macs: backend.macs,
        };
        ("forwarded", fate, tunnel::carried(&bytes, ip, ports, &ends))
    }
}

/// A packet that is left to the stack, about nobody.
pub fn left(arrival: &Arrival<'_>, reason: &'static str) -> Ended {
    (reason, Fate::Pass, (0, 0), arrival.bytes.to_vec())
}
