//! Who may be chosen for a new flow.

use std::net::SocketAddr;

use super::{
    balancer::Balancer,
    config::{Policy, Service, State},
    flow::elapsed,
};

/// Families that a policy is asked for, as the key of what it remembers.
pub type Asked = (u32, bool);

impl Balancer {
    /// The backends that a new flow of a service may go to, given what was asked before. Empty: none
    /// takes new flows. What is not the `first` packet of its flow is always of the same backend.
    pub fn candidates(
        &mut self,
        service: &Service,
        (from, to): (SocketAddr, SocketAddr),
        first: bool,
        now: u32,
    ) -> Vec<u32> {
        let v6 = from.is_ipv6();
        let listed = service.of_family(&self.config, v6);
        let open: Vec<(u32, u32)> =
            listed.iter().filter(|(id, _)| self.is_up(*id)).copied().collect();
        if open.is_empty() {
            if service.policy == Policy::Turn
                && first
                && !listed.is_empty()
                && self.usable(service, v6)
            {
                self.take_turn(service.id, v6);
            }
            return Vec::new();
        }
        if let Some(id) = self.kept(service, from, now) {
            return vec![id];
        }
        match service.policy {
            policy if !first && policy != Policy::SourceHash => {
                self.as_before(service, (from, Some(to)), &open)
            }
            Policy::Maglev => self.as_before(service, (from, Some(to)), &open),
            Policy::SourceHash => {
                let client = SocketAddr::new(from.ip(), 0);
                self.as_before(service, (client, None), &open)
            }
            Policy::Turn => vec![self.next_in_turn(service, v6, &listed)],
            Policy::LeastConnections => self.least(&open, 0)[..1].to_vec(),
            Policy::ShortestDelay => self.least(&open, 1)[..1].to_vec(),
            Policy::Adaptive => self.least_requests(&open),
            Policy::Random | Policy::TwoChoices | Policy::FourChoices | Policy::AdaptiveFour => {
                open.iter().map(|(id, _)| *id).collect()
            }
        }
    }

    pub fn is_up(&self, id: u32) -> bool {
        self.config.backends[&id].state == State::Up
    }

    /// Whether the controller said that the service can serve this family.
    fn usable(&self, service: &Service, v6: bool) -> bool {
        !service.of_family(&self.config, v6).is_empty()
    }

    /// The backend that the client's address keeps.
    fn kept(&self, service: &Service, from: SocketAddr, now: u32) -> Option<u32> {
        let kept_for = service.affinity?;
        let (id, generation, since) = self.affinities.get(&(from.ip(), service.id))?;
        let still = self.is_up(*id) && self.config.backends[id].generation == *generation;
        (still && elapsed(*since, now) <= kept_for).then_some(*id)
    }

    /// A hash is a function: what it chose before it chooses again, as long as nothing changes.
    fn as_before(
        &self,
        service: &Service,
        hashed: (SocketAddr, Option<SocketAddr>),
        open: &[(u32, u32)],
    ) -> Vec<u32> {
        match self.hashed.get(&(service.id, hashed.0, hashed.1)) {
            Some(id) => vec![*id],
            None => open.iter().map(|(id, _)| *id).collect(),
        }
    }

    /// Each family of a service has turns of its own. A turn of one that is closed is the next one's.
    fn next_in_turn(&mut self, service: &Service, v6: bool, listed: &[(u32, u32)]) -> u32 {
        let turn = self.take_turn(service.id, v6);
        let order: Vec<u32> = turn_order(listed);
        let from = (turn % order.len() as u64) as usize;
        let ahead = (0..order.len()).map(|step| order[(from + step) % order.len()]);
        ahead.into_iter().find(|id| self.is_up(*id)).unwrap()
    }

    fn take_turn(&mut self, service: u32, v6: bool) -> u64 {
        let turns = self.turns.entry((service, v6)).or_default();
        *turns += 1;
        *turns - 1
    }

    /// The backends by (flows + `bias`) / weight, least first, ties in the order of the file.
    fn least(&self, open: &[(u32, u32)], bias: u64) -> Vec<u32> {
        let mut order: Vec<(u32, u64, u64)> = open
            .iter()
            .map(|(id, weight)| (*id, self.flows_of(*id) + bias, u64::from(*weight)))
            .collect();
        order.sort_by(|a, b| (a.1 * b.2).cmp(&(b.1 * a.2)));
        order.into_iter().map(|(id, ..)| id).collect()
    }

    /// All backends with the smallest (requests + 1/2) / capacity; weights are what counts without
    /// a controller.
    fn least_requests(&self, open: &[(u32, u32)]) -> Vec<u32> {
        let cost = |(id, weight): &(u32, u32)| {
            let capacity =
                if self.config.heartbeat { self.config.backends[id].capacity } else { *weight };
            (self.requests_of(*id) * 2 + 1, u64::from(capacity))
        };
        let best = |a: &(u32, u32)| {
            open.iter().all(|b| {
                let ((load, capacity), (other, its)) = (cost(a), cost(b));
                load * its <= other * capacity
            })
        };
        open.iter().filter(|a| best(a)).map(|(id, _)| *id).collect()
    }
}

/// The order of turns: as often as the weight says, one after the other. The controller interleaves;
/// to the dataplane any order is one.
pub fn turn_order(listed: &[(u32, u32)]) -> Vec<u32> {
    listed.iter().flat_map(|(id, weight)| std::iter::repeat_n(*id, *weight as usize)).collect()
}
