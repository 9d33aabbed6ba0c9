//! The stage of services that limit new flows: it stands between a flow's first packet and the choice of a
//! backend, so that nobody else pays for it.
//!
//! A service has one bucket of tokens for all CPUs, and one for each source. The source's comes first:
//! whoever has used up its own takes nothing from the others.

use super::{
    Flow,
    lookup::lookup,
    select::NOBODY,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{
        address::Address,
        rate::Token,
        service::{AffinityKey, Service, service_flag},
    },
    packet::{Headers, Packet},
    tables::Tables,
};

/// Ends the packet's way, or lets its flow be opened.
#[inline]
pub fn limit<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let headers = tables.handed_over();
    let verdict = decide(packet, tables, &headers, now);
    if verdict.is_final() {
        tables.count(&verdict, packet.length());
    } else {
        tables.hand_over(Headers { again: true, ..headers });
    }
    verdict
}

#[inline]
fn decide<P: Packet, T: Tables>(packet: &P, tables: &T, headers: &Headers, now: u32) -> Verdict {
    let Some(settings) = tables.settings() else { return Verdict::ended(Reason::TableFault) };
    let verdict = tables.with_workspace(|work| {
        let key = &mut work.key;
        if key.read(packet, headers).is_none() {
            return Verdict::ended(Reason::Malformed);
        }
        let Headers { tcp_flags, payload, .. } = *headers;
        let flow = Flow { key, settings, now, tcp_flags, payload };
        let service = match lookup(tables, &flow) {
            Ok(service) => service,
            Err(reason) => return Verdict::ended(reason),
        };
        let reason = admit(tables, &flow, service);
        if reason == Reason::Forwarded {
            return Verdict::goes_on(Action::Open);
        }
        Verdict::about(reason, service.id, NOBODY)
    });
    verdict.unwrap_or(Verdict::ended(Reason::TableFault))
}

/// Asks the limits of a call, if its service has any; [`Reason::Forwarded`] if there is nothing against it.
/// A function of its own in the kernel: what it needs of the stack is free again when a backend is chosen.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn refused<T: Tables>(tables: &T, flow: &Flow<'_>) -> Reason {
    match lookup(tables, flow) {
        Ok(service) if service.flags & service_flag::LIMITED != 0 => admit(tables, flow, service),
        // Who has no service hears so where one is looked for.
        Ok(_) | Err(_) => Reason::Forwarded,
    }
}

/// Takes the tokens that a new flow needs; [`Reason::Forwarded`] if there are some.
#[inline]
fn admit<T: Tables>(tables: &T, flow: &Flow<'_>, service: &Service) -> Reason {
    let Service { id, source_interval_ns, flow_interval_ns, burst_us, .. } = *service;
    let now_ns = tables.clock_ns();
    let burst_ns = u64::from(burst_us) * 1000;
    let token = |interval: u32| Token { now_ns, interval_ns: u64::from(interval), burst_ns };
    if source_interval_ns != 0 {
        let key = AffinityKey { client: source(flow), service: id };
        if !tables.take_of_source(&key, &token(source_interval_ns)) {
            tables.refused_flow(id, true);
            return Reason::SourceLimited;
        }
    }
    if flow_interval_ns != 0 && !tables.take_of_service(id, &token(flow_interval_ns)) {
        tables.refused_flow(id, false);
        return Reason::RateLimited;
    }
    Reason::Forwarded
}

/// Whom a client counts as: over IPv6 a host has the 64 bits behind its network's to itself.
#[inline]
fn source(flow: &Flow<'_>) -> Address {
    let (address, _) = flow.key.source();
    if !flow.key.is_v6() {
        return address;
    }
    let [a, b, _, _] = address.words;
    Address { words: [a, b, 0, 0] }
}
