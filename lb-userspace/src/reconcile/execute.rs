//! Performs a plan. All choices are made by then.

use super::{observed::Observed, plan::Plan};
use crate::maps::{LbMaps, MapError, Stopped};

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
    observed: &mut Observed,
) -> Result<usize, ExecuteError> {
    observed.begin();
    let writes: Vec<_> = plan.steps.iter().map(|step| &step.write).collect();
    let result = maps.write_all(&writes);
    let done = result.as_ref().map_or_else(|stopped| stopped.done, |()| writes.len());
    for write in writes.iter().take(done) {
        observed.apply(write);
    }
    observed.end(result.is_ok());
    result.map(|()| done).map_err(|Stopped { done: step, source }| {
        let why = plan.steps.get(step).map(|step| step.why.clone()).unwrap_or_default();
        ExecuteError { step, why, source }
    })
}
