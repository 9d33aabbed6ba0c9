//! Flows that leave from a port of this host (ADR 16). Which one is left to chance: it is read off the first packet
//! that shows it, and has to be one of those that may be.

use std::net::SocketAddr;

use super::{
    Outcome,
    balancer::Balancer,
    config::{Backend, Ports},
    flow::{Flow, Side},
    frame::{self, Segment},
    message,
};

impl Balancer {
    /// Why no flow of full NAT can begin towards a backend.
    pub fn no_port(
        &self,
        (udp, at): (bool, SocketAddr),
        backend: &Backend,
        told: &Outcome,
    ) -> Option<&'static str> {
        let Ports { count, .. } = self.config.ports;
        let rivals = self.flows.iter().filter(|flow| {
            flow.ports.is_some()
                && (flow.udp, flow.backend, flow.seen_as.ip()) == (udp, at, backend.source)
        });
        let (mut taken, mut perhaps) = (0, 0);
        for flow in rivals {
            match flow.port() {
                Some(port) => taken += u32::from(self.config.ports.contains(port)),
                None if flow.ports == Some(self.config.ports) => taken += 1,
                None => perhaps += 1,
            }
        }
        let none = taken >= count || taken + perhaps >= count && told.reason == "no-port";
        none.then_some("no-port")
    }

    /// The flow of a client's packet, with its port once that was seen.
    pub fn adopt(&mut self, flow: Flow, side: Side, told: &Outcome) -> Result<Flow, String> {
        let Some(ports) = flow.ports.filter(|_| flow.port().is_none() && side == Side::Client)
        else {
            return Ok(flow);
        };
        let Ok(sent) = frame::read(&told.bytes) else { return Ok(flow) };
        if told.reason != "forwarded" {
            return Ok(flow);
        }
        let port = sent.from.port();
        if !ports.contains(port) {
            return Err(format!("port {port} is none of {ports:?}"));
        }
        let seen_as = SocketAddr::new(flow.seen_as.ip(), port);
        let is_taken = |other: &Flow| {
            (other.udp, other.backend, other.seen_as) == (flow.udp, flow.backend, seen_as)
        };
        if self.flows.iter().any(is_taken) {
            return Err(format!("port {port} is another flow's"));
        }
        let own = |other: &&mut Flow| {
            !other.orphan
                && (other.udp, other.client, other.vip) == (flow.udp, flow.client, flow.vip)
        };
        self.flows.iter_mut().find(own).unwrap().seen_as = seen_as;
        Ok(Flow { seen_as, ..flow })
    }

    /// Ends a flow. Where our address towards its backend has changed, what knows of its port is found by answers only.
    pub fn end(&mut self, side: Side, at: usize) -> Flow {
        let lost = self.has_lost_source(&self.flows[at]);
        if side == Side::Backend || !lost {
            return self.flows.remove(at);
        }
        let flow = &mut self.flows[at];
        let ended = flow.clone();
        (flow.orphan, flow.waiting) = (true, None);
        ended
    }

    /// Whether a flow leaves from an address that is ours no more.
    pub fn has_lost_source(&self, flow: &Flow) -> bool {
        flow.ports.is_some() && self.config.backends[&flow.id].source != flow.seen_as.ip()
    }

    /// Whether an answer, or an error about what a backend was sent, may be about a flow whose port was never seen, or
    /// about two flows.
    pub fn is_about_either(&self, bytes: &[u8]) -> bool {
        let about = match frame::read(bytes) {
            Ok(packet) => Some(packet),
            Err(_) => message::report(bytes).map(|report| {
                let about = report.about;
                Segment { from: about.to, to: about.from, ..about }
            }),
        };
        let Some(packet) = about else { return false };
        // The ports of a later fragment may be any.
        let answers = |flow: &Flow| {
            let (from, to) = (packet.from, packet.to.ip());
            let same = (packet.udp, from) == (flow.udp, flow.backend);
            let ours = same || packet.later() && from.ip() == flow.backend.ip();
            flow.ports.is_some() && ours && to == flow.seen_as.ip()
        };
        // One client has the port that its flow had at another address once more.
        let again = |flow: &Flow, other: &Flow| {
            let of = |flow: &Flow| (flow.udp, flow.client, flow.vip, flow.backend);
            !other.orphan
                && of(flow) == of(other)
                && other.port().is_none_or(|port| Some(port) == flow.port())
        };
        let twin = |flow: &Flow| self.flows.iter().any(|other| again(flow, other));
        if self.flows.iter().any(|flow| flow.orphan && answers(flow) && twin(flow)) {
            return true;
        }
        let unseen = |flow: &Flow| answers(flow) && flow.port().is_none();
        let known = |flow: &Flow| flow.side_of(&packet).is_some();
        self.flows.iter().any(unseen) && !self.flows.iter().any(known)
    }
}
