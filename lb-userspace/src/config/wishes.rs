//! What labels say of the host on which a replica like the container goes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    error::{Mistake, Report},
    field::{At, Field, List},
    labels::value,
    scalar,
};
use crate::{
    model::LabelRule,
    placement::{Amounts, Dimension},
};

/// More replicas of a zone than of another one.
const SPREAD_MAX: u32 = 1000;

/// Where replicas like a container go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Thousandths of a core that it needs.
    pub cpu: Option<u64>,
    /// Bytes of memory that it needs.
    pub memory: Option<u64>,
    /// Labels that its host must have.
    pub select: BTreeMap<String, String>,
    /// Services that must not have replicas on its host.
    pub avoid: BTreeSet<String>,
    /// By how many replicas of its service any two zones may differ.
    pub spread: Option<u32>,
}

impl Wishes {
    /// What it needs: what labels say, or its limits.
    #[must_use]
    pub fn need(&self, limits: &Amounts) -> Amounts {
        let [cpu, memory, ..] = *limits;
        [self.cpu.unwrap_or(cpu), self.memory.unwrap_or(memory), 0, 0]
    }
}

pub(super) fn wishes(
    text: &dyn Fn(&'static str) -> Option<At<String>>,
    report: &mut Report,
) -> Wishes {
    let list = |key| text(key).map(|at| elements(&at)).unwrap_or_default();
    let pairs = list("place.select");
    let pairs = pairs.elements().filter_map(|at| at.parse(report, pair));
    let select = pairs.map(|at| at.value).collect();
    let names = list("place.avoid");
    let names = names.elements().filter_map(|at| at.parse(report, scalar::service_name));
    let avoid = names.map(|at| at.value.as_str().to_owned()).collect();
    Wishes {
        cpu: value(text("place.cpu"), amount(Dimension::Cpu), report),
        memory: value(text("place.memory"), amount(Dimension::Memory), report),
        select,
        avoid,
        spread: value(text("place.spread"), scalar::integer(1, SPREAD_MAX), report),
    }
}

/// Cores, or bytes.
pub(super) fn amount(dimension: Dimension) -> impl Fn(&str) -> Result<u64, Mistake> {
    move |text| dimension.parse(text).map_err(|error| Mistake::new(error.to_string()))
}

/// `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), Mistake> {
    let LabelRule { key, value } = scalar::label_rule(text)?;
    let missing = || Mistake::new(format!("`{key}` has no value")).hint("such as `disk=fast`");
    let value = value.ok_or_else(missing)?;
    Ok((key, value))
}

/// The elements of a list whose values stand between commas.
pub(super) fn elements(At { value, place }: &At<String>) -> List<String> {
    let element = |text: &str| Field::Given(At { value: text.trim().to_owned(), place: *place });
    Field::Given(At { value: value.split(',').map(element).collect(), place: *place })
}
