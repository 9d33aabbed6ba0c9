//! How many replicas a service shall have.

use std::{path::PathBuf, time::Duration};

use super::super::{
    error::{Mistake, Place, Report},
    field::{At, Field},
    raw::{RawScale, RawService},
    scalar,
};
use crate::model::{Algorithm, Executor, Forecast, Policy, Scale};

/// More replicas of one service than any machine has room for are a mistake of somebody's.
const REPLICAS_MAX: u32 = 1000;
const TARGET_DEFAULT: u32 = 70;
const TOLERANCE_DEFAULT: u32 = 10;
const CAPACITY_MAX: u32 = 10_000_000;
const BUCKET_DEFAULT: Duration = Duration::from_secs(15);
const BUCKET_MIN: Duration = Duration::from_secs(1);
const BUCKET_MAX: Duration = Duration::from_mins(5);
const WINDOW_DEFAULT: u32 = 10;
/// Fewer values are no forecast; more than an hour of them says nothing about the next minute.
const WINDOW: (u32, u32) = (5, 100);
const WARM_UP_DEFAULT: Duration = Duration::from_secs(30);
const DOWN_WINDOW_DEFAULT: Duration = Duration::from_mins(5);
const COOLDOWN_DEFAULT: Duration = Duration::from_mins(1);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What a service says about its replicas, with the place of that.
pub(in super::super) fn scale(
    service: &RawService,
    policy: Option<Policy>,
    report: &mut Report,
) -> Option<At<Scale>> {
    let At { value: raw, place } = service.scale.given()?;
    let (min, max) = bounds(raw, *place, report);
    let percent = |field: &Field<String>, min, default, report: &mut Report| {
        field.parse_or(report, scalar::percent(min), default).unwrap_or(default)
    };
    let target_percent = percent(&raw.target, 1, TARGET_DEFAULT, report);
    let tolerance_percent = percent(&raw.tolerance, 0, TOLERANCE_DEFAULT, report);
    let algorithm = algorithm(raw, report);
    let capacity = capacity(raw, *place, policy, report);
    let bucket = bucket(raw, report);
    let (least, most) = WINDOW;
    let window = raw.window.parse_or(report, scalar::integer(least, most), WINDOW_DEFAULT);
    let time = |field: &Field<String>, default, report: &mut Report| {
        field.parse_or(report, scalar::duration, default).unwrap_or(default)
    };
    let start_time = raw.start_time.parse(report, scalar::duration).map(|at| at.value);
    let warm_up = time(&raw.warm_up, WARM_UP_DEFAULT, report);
    let down_window = time(&raw.down_window, DOWN_WINDOW_DEFAULT, report);
    let cooldown = time(&raw.cooldown, COOLDOWN_DEFAULT, report);
    let executor = executor(raw, *place, report);
    let dry_run = raw.dry_run.parse_or(report, scalar::truth, false).unwrap_or(false);
    let window = window.unwrap_or(WINDOW_DEFAULT);
    let value = Scale {
        min,
        max: max?,
        target_percent,
        tolerance_percent,
        algorithm: algorithm?,
        capacity,
        bucket,
        window,
        start_time,
        warm_up,
        down_window,
        cooldown,
        executor: executor?,
        dry_run,
    };
    Some(At { value, place: *place })
}

fn bounds(raw: &RawScale, place: Place, report: &mut Report) -> (u32, Option<u32>) {
    raw.max.required(report, place, || {
        Mistake::new("these replicas have no `max`").hint("such as `{ min: 2, max: 8 }`")
    });
    let replicas = scalar::integer(1, REPLICAS_MAX);
    let min = raw.min.parse_or(report, &replicas, 1);
    let max = raw.max.parse(report, &replicas);
    if let (Some(min), Some(At { value: max, place })) = (min, &max)
        && min > *max
    {
        let message = format!("at most {max} replicas, but at least {min}");
        report.add(*place, Mistake::new(message));
    }
    (min.unwrap_or(1), max.map(|at| at.value))
}

fn algorithm(raw: &RawScale, report: &mut Report) -> Option<Algorithm> {
    let hpa = raw.algorithm.parse_or(report, scalar::algorithm, false);
    let forecast = raw.forecast.parse_or(report, scalar::forecast, Forecast::Grey);
    if !hpa? {
        return Some(Algorithm::Weir(forecast?));
    }
    let useless =
        [("forecast", &raw.forecast), ("window", &raw.window), ("cooldown", &raw.cooldown)];
    for (name, field) in useless {
        if let Field::Given(at) = field {
            let mistake = Mistake::new(format!("`{name}` means nothing with `algorithm: hpa`"));
            report.add(at.place, mistake.hint("Kubernetes' algorithm has none"));
        }
    }
    Some(Algorithm::Hpa)
}

/// Only `adaptive` finds out what a backend can take.
fn capacity(
    raw: &RawScale,
    place: Place,
    policy: Option<Policy>,
    report: &mut Report,
) -> Option<u32> {
    if let Some(policy) = policy
        && raw.capacity.is_absent()
        && policy != Policy::Adaptive
    {
        let message =
            format!("these replicas need a `capacity`: `{}` measures none", policy.name());
        let hint = "flows a second that a replica can take, or `policy: adaptive`";
        report.add(place, Mistake::new(message).hint(hint));
    }
    Some(raw.capacity.parse(report, scalar::integer(1, CAPACITY_MAX))?.value)
}

fn bucket(raw: &RawScale, report: &mut Report) -> Duration {
    let bucket = raw.bucket.parse(report, scalar::duration);
    if let Some(At { value, place }) = &bucket
        && !(BUCKET_MIN..=BUCKET_MAX).contains(value)
    {
        let message = format!("a bucket of {value:?} is not from {BUCKET_MIN:?} to 5m");
        report.add(*place, Mistake::new(message).hint("counters are read once a second"));
    }
    bucket.map_or(BUCKET_DEFAULT, |at| at.value)
}

fn executor(raw: &RawScale, place: Place, report: &mut Report) -> Option<Executor> {
    const KNOWN: [&str; 3] = ["advise", "command", "docker"];
    let word = |text: &str| scalar::one_of("executor", text, &KNOWN);
    let word = raw.executor.parse_or(report, word, KNOWN[0])?;
    let command = command(raw, report);
    let timeout = raw.command_timeout.parse_or(report, scalar::duration, TIMEOUT_DEFAULT);
    let template = raw.template.parse(report, scalar::template).map(|at| at.value);
    let others = [
        ("command", raw.command.given().map(|at| at.place), "command"),
        ("command-timeout", raw.command_timeout.given().map(|at| at.place), "command"),
        ("template", raw.template.given().map(|at| at.place), "docker"),
    ];
    for (field, at, owner) in others {
        if let Some(at) = at
            && word != owner
        {
            let message = format!("`{field}` means nothing with `executor: {word}`");
            report.add(at, Mistake::new(message).hint(format!("`executor: {owner}`")));
        }
    }
    if word == "command" && raw.command.is_absent() {
        let mistake = Mistake::new("these replicas have no `command`");
        report.add(place, mistake.hint("such as `[/usr/local/bin/scale]`"));
    }
    match word {
        "command" => {
            let (program, arguments) = command?;
            Some(Executor::Command { program, arguments, timeout: timeout? })
        }
        "docker" => Some(Executor::Docker { template }),
        _ => Some(Executor::Advise),
    }
}

fn command(raw: &RawScale, report: &mut Report) -> Option<(PathBuf, Vec<String>)> {
    let At { value, place } = raw.command.given()?;
    let mut words = value.iter();
    let Some(first) = words.next() else {
        report.add(*place, Mistake::new("`command` is empty"));
        return None;
    };
    let program = first.parse(report, scalar::file_path)?.value;
    let arguments = words.filter_map(Field::given).map(|at| at.value.clone()).collect();
    Some((program, arguments))
}

/// Replicas are containers only where containers are followed.
pub(super) fn without_containers(scale: Option<&At<Scale>>, report: &mut Report) {
    let Some(At { value: Scale { executor: Executor::Docker { .. }, .. }, place }) = scale else {
        return;
    };
    let mistake = Mistake::new("`executor: docker` starts containers, which are not followed");
    let hint = "add `docker: {}` to the file, or `docker: { label: app=web }` to the service";
    report.add(*place, mistake.hint(hint));
}
