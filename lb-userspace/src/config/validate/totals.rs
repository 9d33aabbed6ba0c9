//! What the dataplane's tables can hold.

use std::collections::BTreeSet;

use lb_common::maps::{LISTENS_MAX, SOURCES_MAX};

use super::{
    super::error::{Mistake, Place, Report},
    service::Checked,
};
use crate::model::Limits;

/// Reports what does not fit, at the first value that does not.
pub(super) fn within(limits: &Limits, services: &[Checked], report: &mut Report) {
    let places = services.iter().map(|service| service.place);
    check("services", places, Some("services"), limits.services, report);

    let mut known = BTreeSet::new();
    let backends = services.iter().flat_map(|service| &service.backends.list);
    let backends = backends.filter(|at| known.insert(at.value.endpoint)).map(|at| at.place);
    check("backends", backends, Some("backends"), limits.backends, report);

    let listens = services.iter().flat_map(|service| &service.listens.list);
    let single = listens.filter(|at| at.value.ports.is_single()).map(|at| at.place);
    check("listen addresses", single, None, LISTENS_MAX, report);

    let sources = services.iter().flat_map(|service| &service.sources).map(|at| at.place);
    check("source networks", sources, None, SOURCES_MAX, report);
}

fn check(
    what: &str,
    places: impl Iterator<Item = Place>,
    limit_name: Option<&str>,
    limit: u32,
    report: &mut Report,
) {
    let places: Vec<Place> = places.collect();
    let first_beyond = usize::try_from(limit).ok().and_then(|limit| places.get(limit));
    let Some(place) = first_beyond else { return };
    let mistake = Mistake::new(format!("{} {what}; {limit} fit", places.len()));
    let hint = limit_name.map(|name| format!("raise `{name}` in `limits`"));
    report.add(*place, mistake.maybe_hint(hint));
}
