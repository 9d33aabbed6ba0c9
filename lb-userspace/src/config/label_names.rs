//! The labels that there are, and a name taken apart.

use super::{
    decode::list,
    error::{Mistake, escaped, nearest},
};

/// What all labels that are meant for Weir begin with.
pub const PREFIX: &str = "weir.";
/// What the labels of one of several services begin with, after that.
pub(super) const NAMED: &str = "services.";
/// All labels, without their prefix. From `listen` on they are about one service, and may stand
/// behind `services.NAME.` as well.
pub(super) const LABELS: [&str; 43] = [
    "enable",
    "network",
    "place.cpu",
    "place.memory",
    "place.select",
    "place.avoid",
    "place.spread",
    "service",
    "listen",
    "publish",
    "port",
    "weight",
    "policy",
    "affinity",
    "sources",
    "health.tcp",
    "health.http",
    "health.interval",
    "health.timeout",
    "health.rise",
    "health.fall",
    "health.port",
    "health.all-down",
    "report.agent",
    "report.http",
    "report.port",
    "report.interval",
    "scale.min",
    "scale.max",
    "scale.target",
    "scale.tolerance",
    "scale.algorithm",
    "scale.forecast",
    "scale.capacity",
    "scale.bucket",
    "scale.window",
    "scale.start-time",
    "scale.warm-up",
    "scale.down-window",
    "scale.cooldown",
    "scale.executor",
    "scale.template",
    "scale.dry-run",
];
/// How many of them are about the container.
pub(super) const OF_CONTAINER: usize = 8;

/// A label without its prefix, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label<'a> {
    /// The service that it names, where it is one of several.
    pub(super) service: Option<&'a str>,
    /// Which of [`LABELS`] it is.
    pub(super) key: &'static str,
}

/// Which label this is, by its name without the prefix.
pub(super) fn label(name: &str) -> Option<Label<'_>> {
    let Some(rest) = name.strip_prefix(NAMED) else {
        let key = LABELS.into_iter().find(|label| *label == name)?;
        return Some(Label { service: None, key });
    };
    // A name may have dots of its own.
    let named = |key: &'static str| {
        let service = rest.strip_suffix(key)?.strip_suffix('.')?;
        Some(Label { service: Some(service), key })
    };
    LABELS.into_iter().skip(OF_CONTAINER).filter_map(named).min_by_key(|label| label.service)
}

/// What is said of one that there is none of.
pub(super) fn unknown(name: &str) -> Mistake {
    let mistake = Mistake::new("there is no such label");
    if Some(name) == NAMED.strip_suffix('.') {
        return mistake.hint(format!("each service by its name: `{PREFIX}{NAMED}NAME.listen`"));
    }
    let (scope, key) = match name.strip_prefix(NAMED) {
        // The name has no dots in most cases.
        Some(rest) => rest.split_once('.').unwrap_or((rest, "")),
        None => ("", name),
    };
    let known = if scope.is_empty() { &LABELS[..] } else { LABELS.split_at(OF_CONTAINER).1 };
    let scope =
        if scope.is_empty() { String::new() } else { format!("{NAMED}{}.", escaped(scope)) };
    match nearest(key, known.iter().copied()) {
        Some(near) => mistake.hint(format!("did you mean `{PREFIX}{scope}{near}`?")),
        None => mistake.hint(format!("after `{PREFIX}{scope}` comes one of {}", list(known))),
    }
}
