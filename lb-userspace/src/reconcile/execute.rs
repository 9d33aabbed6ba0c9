//! Performs a plan. All choices are made by then.

use super::plan::{Plan, Step};
use crate::maps::{LbMaps, MapError, Snapshot};

/// Where a plan stopped.
#[derive(Debug, thiserror::Error)]
#[error("step {step} ({why}): {source}")]
pub struct ExecuteError {
    /// Index of the step that failed; those before it are done.
    pub step: usize,
    /// Why it was to be done.
    pub why: String,
    /// What went wrong.
    pub source: MapError,
}

/// Performs the steps in order until one fails; returns how many there were. `observed` is what
/// the maps say, before and after, whatever happens.
pub fn execute(
    plan: &Plan,
    maps: &mut dyn LbMaps,
    observed: &mut Snapshot,
) -> Result<usize, ExecuteError> {
    let result = plan.steps.iter().enumerate().try_for_each(|(index, step)| {
        let Step { write, why, .. } = step;
        maps.write(write).map_err(|source| ExecuteError {
            step: index,
            why: why.clone(),
            source,
        })?;
        observed.apply(write);
        Ok(())
    });
    observed.forget_unnamed_pages();
    result.map(|()| plan.steps.len())
}
