//! From the first packet of a flow to its service and backend: lookup, then select.

use super::{
    Flow, lookup,
    select::{NOBODY, select},
    verdict::{Class, Reason},
};
use crate::{abi::service::service_flag, tables::Tables};

/// Where the first packet of a flow goes. Plain numbers: what crosses a call in the kernel must
/// have no bytes that are left unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// A [`Reason`] as its number; [`Reason::Forwarded`] if there is a backend.
    pub reason: u32,
    /// Service id, 0 if none.
    pub service: u32,
    /// Backend id, 0 if none.
    pub backend: u32,
    /// Bits of [`service_flag`](crate::abi::service::service_flag); above them the forward mode.
    pub flags: u32,
}

/// Bits of [`Choice::flags`] below the forward mode.
const FORWARD_SHIFT: u32 = 8;

impl Choice {
    /// One of [`forward`](crate::abi::service::forward).
    #[inline]
    #[must_use]
    pub const fn forward(&self) -> u8 {
        (self.flags >> FORWARD_SHIFT) as u8
    }

    /// Whether the limits of the service have to be asked first.
    #[inline]
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.reason == Reason::Undecided as u32
    }

    /// Why there is no backend.
    #[inline]
    #[must_use]
    pub fn why_not(&self) -> Option<Reason> {
        match Reason::from_number(self.reason) {
            Some(reason) if reason.class() != Class::Forward => Some(reason),
            Some(_) => None,
            None => Some(Reason::TableFault),
        }
    }
}

/// Finds service and backend of a new flow; `steady` as in [`select`]. Where a service limits new flows, and
/// this one was not `admitted`, that is [`Reason::Undecided`].
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn choose<T: Tables>(tables: &T, flow: &Flow<'_>, steady: bool, admitted: bool) -> Choice {
    let service = match lookup::lookup(tables, flow) {
        Ok(service) => service,
        Err(reason) => return Choice { reason: reason as u32, ..Choice::default() },
    };
    let ended = |reason| Choice {
        reason: reason as u32,
        service: service.id,
        backend: NOBODY,
        flags: u32::from(service.flags) | u32::from(service.forward) << FORWARD_SHIFT,
    };
    if !lookup::is_allowed(tables, flow, service) {
        return ended(Reason::SourceDenied);
    }
    if service.flags & service_flag::LIMITED != 0 && !admitted {
        return ended(Reason::Undecided);
    }
    match if service.usable == 0 { NOBODY } else { select(tables, flow, service, steady) } {
        NOBODY => ended(Reason::NoBackend),
        backend => Choice { backend, ..ended(Reason::Forwarded) },
    }
}
