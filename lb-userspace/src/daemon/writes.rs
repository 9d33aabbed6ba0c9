//! What a daemon would write for a configuration, without a host.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Context as _;

use super::{apply, state::State};
use crate::{
    maps::Write,
    model::{Config, Service},
    reconcile::{Memory, Observed, PlanInput, plan},
    table,
};

/// Names of services and backends by their ids in the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    services: BTreeMap<u32, String>,
    backends: BTreeMap<u32, String>,
}

impl Names {
    /// The service's name; `None` for id 0.
    #[must_use]
    pub fn service(&self, id: u32) -> Option<String> {
        self.services.get(&id).cloned()
    }

    /// The backend's address; `None` for id 0.
    #[must_use]
    pub fn backend(&self, id: u32) -> Option<String> {
        self.backends.get(&id).cloned()
    }
}

/// The maps of a configuration as writes, with the names behind the ids.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// The names.
    pub names: Names,
}

/// What a daemon would write for a configuration on a host where every backend is healthy and is
/// reached through the stack: `weir simulate` runs packets against that.
pub fn writes_for(config: Config, ticks_per_second: u32) -> anyhow::Result<Writes> {
    let (drain, limits) = (config.drain, apply::room(config.limits));
    let mut state = State::new(config, ticks_per_second, 0);
    state.update();
    let mut observed = Observed::default();
    let input = PlanInput {
        desired: &state.wanted.desired,
        observed: &observed,
        memory: &Memory::default(),
        flows: &BTreeMap::new(),
        now: Instant::now(),
        drain,
        limits,
        build: table::build,
        scope: state.wanted.scope(),
    };
    let plan = plan(&input).context("the configuration does not fit")?;
    let writes: Vec<_> = plan.steps.into_iter().map(|step| step.write).collect();
    for write in &writes {
        observed.apply(write);
    }
    let id =
        |service: &Service| service.listens.iter().find_map(|listen| observed.service_of(listen));
    let services = state.config.services.iter();
    let names = Names {
        services: services.filter_map(|s| Some((id(s)?, s.name.to_string()))).collect(),
        backends: observed.present_backends().map(|(id, e)| (id, e.to_string())).collect(),
    };
    Ok(Writes { writes, names })
}
