//! What the dataplane knows of the backends' load, and the word back that somebody listens.

use std::collections::BTreeMap;

use lb_common::abi::{backend::BackendLoad, signals::Signals};

use super::{Dataplane, LoadError};
use crate::maps::MapError;

/// The signals of a backend since it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Open flows and requests in flight, at this moment.
    pub load: BackendLoad,
    /// How it has answered.
    pub signals: Signals,
}

impl Dataplane {
    /// Reads the signals of these backends.
    pub fn readings(
        &self,
        backends: impl Iterator<Item = u32>,
    ) -> Result<BTreeMap<u32, Reading>, MapError> {
        let ids: Vec<u32> = backends.collect();
        let readings = self.maps.readings(&ids)?;
        Ok(ids.into_iter().zip(readings).collect())
    }

    /// Open flows of these backends.
    pub fn open_flows(&self, backends: impl Iterator<Item = u32>) -> BTreeMap<u32, u64> {
        let backends: Vec<u32> = backends.collect();
        let loads = self.maps.loads(&backends);
        backends.into_iter().zip(loads).map(|(id, load)| (id, load.flows)).collect()
    }

    /// When somebody last said so, in ticks.
    pub(crate) fn heartbeat(&self) -> Result<u32, MapError> {
        self.maps.heartbeat()
    }

    /// Says that somebody looks after the capacities: without that, the dataplane goes by the
    /// configured weights.
    pub fn beat(&mut self) -> Result<(), LoadError> {
        // The programs compare with the low half.
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let now = self.ticks()? as u32;
        Ok(self.maps.beat(now)?)
    }
}
