//! Which service a new flow is for.

use super::{Flow, verdict::Reason};
use crate::{
    abi::{
        service::{ListenKey, RangeKey, Service, SourceKey, service_flag},
        settings::settings_flag,
    },
    tables::Tables,
};

/// The service of the packet's destination: the exact listen address, then the port ranges.
#[inline]
pub fn lookup<'t, T: Tables>(tables: &'t T, flow: &Flow<'_>) -> Result<&'t Service, Reason> {
    find(tables, flow).ok_or(Reason::NoListener)
}

/// A function of its own in the kernel: what it needs of the stack is free again when a backend is chosen.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn find<'t, T: Tables>(tables: &'t T, flow: &Flow<'_>) -> Option<&'t Service> {
    let ((address, port), protocol) = (flow.key.destination(), flow.protocol());
    // Keys hold IPv4 as IPv4-mapped addresses, which no IPv6 packet may have (RFC 4291, 2.5.5.2): such
    // a client would pass for one of IPv4 in allow lists and affinity.
    if flow.key.is_v6() && (address.is_v4() || flow.key.source().0.is_v4()) {
        return None;
    }
    if let Some(service) = tables.listen(&ListenKey { address, port, protocol, zero: 0 }) {
        return Some(service);
    }
    if flow.settings.flags & settings_flag::RANGES == 0 {
        return None;
    }
    let (address, port) = (address.octets(), port.to_ne_bytes());
    tables.listen_range(&RangeKey { protocol, address, port, zero: 0 })
}

/// Whether the client is in the allow list of the service, or there is none.
#[inline]
pub fn is_allowed<T: Tables>(tables: &T, flow: &Flow<'_>, service: &Service) -> bool {
    let (service_id, address) = (service.id.to_ne_bytes(), flow.key.source().0.octets());
    service.flags & service_flag::SOURCES == 0
        || tables.source_allowed(&SourceKey { service: service_id, address })
}
