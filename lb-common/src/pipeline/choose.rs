//! From the first packet of a flow to its service and backend: lookup, then select.
//!
//! Of one shape for both families and out of plain fields, because the kernel side does this in a
//! function that the verifier checks on its own.

use super::{
    At,
    flow_key::FlowKey,
    lookup,
    select::{NOBODY, select},
    verdict::{Class, Reason},
};
use crate::{
    abi::{abi, address::Address, settings::settings_flag},
    packet::Packet,
    tables::Tables,
};

abi! {
    /// The first packet of a flow.
    pub struct NewFlow: 48 {
        /// The client.
        pub source: Address,
        /// The VIP.
        pub destination: Address,
        /// Source port, network byte order.
        pub source_port: u16,
        /// Destination port, network byte order.
        pub destination_port: u16,
        /// IP protocol number.
        pub protocol: u32,
        /// Low half of the jiffies.
        pub now: u32,
        /// Whether port ranges are in use.
        pub ranges: u32,
    }
}

abi! {
    /// Where it goes.
    pub struct Choice: 12 {
        /// A [`Reason`] as its number; [`Reason::Forwarded`] if there is a backend.
        pub reason: u32,
        /// Service id, 0 if none.
        pub service: u32,
        /// Backend id, 0 if none.
        pub backend: u32,
    }
}

impl Choice {
    /// Why there is no backend.
    #[inline]
    #[must_use]
    pub fn why_not(&self) -> Reason {
        match Reason::from_number(self.reason) {
            Some(reason) if reason.class() != Class::Forward => reason,
            _ => Reason::TableFault,
        }
    }
}

/// What is to be known of the first packet of a flow.
#[inline]
pub fn new_flow<K: FlowKey, P: Packet>(packet: &P, at: &At<'_>) -> Option<NewFlow> {
    let key = K::read(packet, &at.headers)?;
    let (source_port, destination_port, protocol) = key.ports();
    Some(NewFlow {
        source: key.source(),
        destination: key.destination(),
        source_port,
        destination_port,
        protocol: u32::from(protocol),
        now: at.now,
        ranges: at.settings.flags & settings_flag::RANGES,
    })
}

/// Finds service and backend of a new flow.
#[inline]
pub fn choose<T: Tables>(tables: &T, flow: &NewFlow) -> Choice {
    let service = match lookup::lookup(tables, flow) {
        Ok(service) => service,
        Err(reason) => return Choice { reason: reason as u32, service: 0, backend: NOBODY },
    };
    let ended = |reason| Choice { reason: reason as u32, service: service.id, backend: NOBODY };
    if !lookup::is_allowed(tables, flow, service) {
        return ended(Reason::SourceDenied);
    }
    match if service.usable == 0 { NOBODY } else { select(tables, flow, service) } {
        NOBODY => ended(Reason::NoBackend),
        backend => Choice { backend, ..ended(Reason::Forwarded) },
    }
}
