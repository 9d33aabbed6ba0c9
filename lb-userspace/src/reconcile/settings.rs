//! The settings element: first what new services need, last that everything is in place.

use lb_common::abi::{
    ABI_VERSION,
    settings::{Settings, settings_flag},
};

use super::{
    desired::Desired,
    plan::{Stage, Step},
};
use crate::maps::{Snapshot, Write};

/// Writes of the settings; `ranges`: whether some service listens on a range of ports.
pub(super) fn steps(desired: &Desired, observed: &Snapshot, ranges: bool) -> Vec<Step> {
    let flag = if ranges { settings_flag::RANGES } else { 0 };
    let flags = desired.settings.flags & !settings_flag::RANGES | flag;
    let settled = Settings {
        abi_version: ABI_VERSION,
        flags,
        generation: desired.generation,
        ..desired.settings
    };
    // Ranges that are still published must be found until they are withdrawn.
    let prepared = Settings {
        flags: flags | observed.settings.flags & settings_flag::RANGES,
        generation: observed.settings.generation,
        ..settled
    };
    let mut steps = Vec::new();
    if prepared != observed.settings {
        let why = "settings or timeouts changed".to_owned();
        steps.push(Step { stage: Stage::Prepare, write: Write::Settings(prepared), why });
    }
    if settled != prepared {
        let why = format!("generation {} is in place", desired.generation);
        steps.push(Step { stage: Stage::Settle, write: Write::Settings(settled), why });
    }
    steps
}
