//! Which service a new flow is for.

use super::{Flow, flow_key::FlowKey, verdict::Reason};
use crate::{
    abi::{
        service::{ListenKey, RangeKey, Service, SourceKey, service_flag},
        settings::settings_flag,
    },
    tables::Tables,
};

/// The service of the packet's destination, if the packet's source may use it.
#[inline]
pub fn lookup<'t, K: FlowKey, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_, K>,
) -> Result<&'t Service, Reason> {
    let (_, port, protocol) = flow.key.ports();
    let address = flow.key.destination();
    let exact = tables.listen(&ListenKey { address, port, protocol, zero: 0 });
    let service = match exact {
        Some(service) => service,
        None if flow.settings.flags & settings_flag::RANGES == 0 => return Err(Reason::NoListener),
        None => tables
            .listen_range(&RangeKey {
                protocol,
                address: address.octets(),
                port: port.to_ne_bytes(),
                zero: 0,
            })
            .ok_or(Reason::NoListener)?,
    };
    let restricted = service.flags & service_flag::SOURCES != 0;
    if restricted && !allowed(tables, flow, service) {
        return Err(Reason::SourceDenied);
    }
    if service.usable == 0 { Err(Reason::NoBackend) } else { Ok(service) }
}

#[inline]
fn allowed<K: FlowKey, T: Tables>(tables: &T, flow: &Flow<'_, K>, service: &Service) -> bool {
    tables.source_allowed(&SourceKey {
        service: service.id.to_ne_bytes(),
        address: flow.key.source().octets(),
    })
}
