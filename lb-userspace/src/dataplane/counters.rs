//! Counters of the dataplane, summed over the CPUs.

use std::collections::BTreeMap;

use aya::maps::{MapData, PerCpuArray};
use lb_common::{abi::stats::Traffic, pipeline::verdict::Reason};

use super::{Dataplane, signals::Reading};
use crate::maps::{MapError, kernel};

/// New flows that the limits of a service refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// They were too many for the service.
    pub by_service: u64,
    /// They were too many for their source.
    pub by_source: u64,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets by reason, in the order of [`Reason::ALL`].
    pub reasons: Vec<(Reason, u64)>,
    /// Traffic by service id.
    pub services: BTreeMap<u32, Traffic>,
    /// New flows that limits refused, by service id.
    pub refused: BTreeMap<u32, Refused>,
    /// Traffic by backend id.
    pub backends: BTreeMap<u32, Traffic>,
    /// Signals of load by backend id.
    pub readings: BTreeMap<u32, Reading>,
}

impl Counters {
    /// Signals of load of a backend; zeros where there are none.
    #[must_use]
    pub fn reading(&self, backend: u32) -> Reading {
        self.readings.get(&backend).copied().unwrap_or_default()
    }
}

impl Dataplane {
    /// Reads the counters of these services and backends.
    pub fn counters(
        &self,
        services: impl Iterator<Item = u32> + Clone,
        backends: impl Iterator<Item = u32> + Clone,
    ) -> Result<Counters, MapError> {
        let maps = &self.maps;
        let reason = |reason: Reason| {
            let values = maps.reasons.get(&u32::from(reason as u8), 0);
            values.map(|values| (reason, values.iter().sum())).map_err(kernel::error("REASONS"))
        };
        Ok(Counters {
            reasons: Reason::ALL.into_iter().map(reason).collect::<Result<_, _>>()?,
            refused: services
                .clone()
                .map(|id| Ok((id, maps.refused_flows(id)?)))
                .collect::<Result<_, MapError>>()?,
            services: services
                .map(|id| traffic(&maps.service_stats, "SERVICE_STATS", id))
                .collect::<Result<_, _>>()?,
            backends: backends
                .clone()
                .map(|id| traffic(&maps.backend_stats, "BACKEND_STATS", id))
                .collect::<Result<_, _>>()?,
            readings: self.readings(backends)?,
        })
    }
}

fn traffic(
    map: &PerCpuArray<MapData, Traffic>,
    name: &'static str,
    id: u32,
) -> Result<(u32, Traffic), MapError> {
    let values = map.get(&id, 0).map_err(kernel::error(name))?;
    let sum = values.iter().fold(Traffic::default(), |sum, cpu| Traffic {
        flows: sum.flows + cpu.flows,
        packets_in: sum.packets_in + cpu.packets_in,
        bytes_in: sum.bytes_in + cpu.bytes_in,
        packets_out: sum.packets_out + cpu.packets_out,
        bytes_out: sum.bytes_out + cpu.bytes_out,
    });
    Ok((id, sum))
}
