//! From samples to the rows of the table, with their bars.

use super::{Samples, Step, Way, events::Delays, weir::Many};
use crate::report::{Bar, Row};

const PUBLISH: Bar = Bar::at_most(100.0, 20.0);
const RANGE: Bar = Bar::at_most(10.0, 1.0);
const MEMORY: Bar = Bar::at_most(1024.0, 100.0);
const LOAD: Bar = Bar::at_most(2000.0, 500.0);
const CHANGE: Bar = Bar::at_most(10.0, 1.0);
const EVENT: Bar = Bar::at_most(100.0, 50.0);

/// All rows.
pub(super) fn rows(samples: &Samples, many: &Many, events: &Delays) -> Vec<Row> {
    let of = |step, way, count| samples.get(&(step, way, count)).map_or(&[][..], Vec::as_slice);
    let mut rows = Vec::new();
    let counts: std::collections::BTreeSet<u16> = samples.keys().map(|(_, _, n)| *n).collect();
    for count in counts {
        for (ours, bar) in [
            (Way::Weir, (count == 1_000).then_some(PUBLISH)),
            (Way::WeirRange, (count == 10_000).then_some(RANGE)),
        ] {
            let what = format!("{count} ports, {}: publish, ms", ours.name());
            rows.push(Row::new("E11", what, of(Step::Publish, ours, count), bar));
        }
        for other in [Way::NftRules, Way::NftMap, Way::Iptables, Way::Docker] {
            for step in [Step::Publish, Step::Add, Step::Remove] {
                let what = format!("{count} ports, {}: {} / weir", step.name().0, other.name());
                let (others, ours) = (of(step, other, count), of(step, Way::Weir, count));
                rows.push(Row::quotient("E11", what, others, ours, None));
            }
        }
    }
    let memory = |way: Way, count, bar| {
        let what = format!("memory a port of {count}, {}: bytes", way.name());
        Row::new("E11", what, of(Step::Memory, way, count), bar)
    };
    // A range is what Docker has a rule and a process a port for; a service has backends of its own.
    rows.push(memory(Way::WeirRange, 1_000, Some(MEMORY)));
    rows.push(memory(Way::Docker, 1_000, None));
    rows.push(memory(Way::Weir, 10_000, None));
    let services = many.services;
    let what = format!("{services} services of 10 backends: load all, ms");
    rows.push(Row::new("E12", what, &many.load_ms, Some(LOAD)));
    let what = format!("{services} services of 10 backends: one backend's state, ms");
    rows.push(Row::new("E12", what, &many.change_ms, Some(CHANGE)));
    let start = "a container runs, until it is a backend, ms";
    rows.push(Row::new("event", start, &events.start, Some(EVENT)));
    let end = "a container is killed, until it is none, ms";
    rows.push(Row::new("event", end, &events.end, Some(EVENT)));
    rows.into_iter().flatten().collect()
}
