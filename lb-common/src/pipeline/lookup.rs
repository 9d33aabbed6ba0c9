//! Which service a new flow is for.

use super::{choose::NewFlow, verdict::Reason};
use crate::{
    abi::service::{ListenKey, RangeKey, Service, SourceKey, service_flag},
    tables::Tables,
};

/// The service of the packet's destination: the exact listen address, then the port ranges.
#[inline]
pub fn lookup<'t, T: Tables>(tables: &'t T, flow: &NewFlow) -> Result<&'t Service, Reason> {
    let (address, port, protocol) = (flow.destination, flow.destination_port, flow.protocol as u8);
    if let Some(service) = tables.listen(&ListenKey { address, port, protocol, zero: 0 }) {
        return Ok(service);
    }
    if flow.ranges == 0 {
        return Err(Reason::NoListener);
    }
    let (address, port) = (address.octets(), port.to_ne_bytes());
    tables.listen_range(&RangeKey { protocol, address, port, zero: 0 }).ok_or(Reason::NoListener)
}

/// Whether the client is in the allow list of the service, or there is none.
#[inline]
pub fn is_allowed<T: Tables>(tables: &T, flow: &NewFlow, service: &Service) -> bool {
    let (service_id, address) = (service.id.to_ne_bytes(), flow.source.octets());
    service.flags & service_flag::SOURCES == 0
        || tables.source_allowed(&SourceKey { service: service_id, address })
}
