//! What labels say of how many replicas a service shall have: the fields of `scale`.

use super::{
    error::{Mistake, Place, Report},
    field::{At, Field, List},
    raw::{RawScale, RawService, Text},
    scalar, validate,
};
use crate::model::{Policy, Scale};

/// All of `scale` but the program: whoever starts containers has none run.
pub(super) fn scale(
    text: &dyn Fn(&'static str) -> Option<At<String>>,
    place: Place,
    report: &mut Report,
) -> Option<Scale> {
    let field = |name: &'static str| -> Text { text(name).map_or(Field::Absent, Field::Given) };
    if let Some(At { value, place }) = text("scale.executor")
        && value == "command"
    {
        let mistake = Mistake::new("no programs are run for labels");
        report.add(place, mistake.hint("`advise` or `docker`"));
        return None;
    }
    let raw = RawScale {
        min: field("scale.min"),
        max: field("scale.max"),
        target: field("scale.target"),
        tolerance: field("scale.tolerance"),
        algorithm: field("scale.algorithm"),
        forecast: field("scale.forecast"),
        capacity: field("scale.capacity"),
        bucket: field("scale.bucket"),
        window: field("scale.window"),
        start_time: field("scale.start-time"),
        warm_up: field("scale.warm-up"),
        down_window: field("scale.down-window"),
        cooldown: field("scale.cooldown"),
        executor: field("scale.executor"),
        command: List::Absent,
        command_timeout: Field::Absent,
        template: field("scale.template"),
        dry_run: field("scale.dry-run"),
    };
    // What is wrong with the policy is said where that is read.
    let policy = text("policy").map_or(Some(Policy::Adaptive), |at| scalar::policy(&at.value).ok());
    let service = RawService { scale: Field::Given(At { value: raw, place }), ..<_>::default() };
    validate::scale::scale(&service, policy, report).map(|at| at.value)
}
