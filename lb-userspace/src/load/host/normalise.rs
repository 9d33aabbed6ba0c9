//! From two looks at a cgroup to utilisations: how much of what it may use it does use.
//!
//! Each is a share of the limit that binds, from 0 to 1, whatever level of the path has the limit:
//! a container alone in a pod with a quota is as full as the pod. What is not known says why.

use std::time::Duration;

use super::{
    links::LinkCounts,
    reading::{Cpu, IoCounts, Level, LimitedDevice, Memory, Reading},
};

/// Two looks so close tell of the kernel's bookkeeping, not of load.
const ELAPSED_MIN: Duration = Duration::from_millis(50);
/// Two looks so far apart tell of the past: the machine slept, or the reader did.
const ELAPSED_MAX: Duration = Duration::from_mins(1);
/// A cgroup cannot use more than all CPUs all the time. Twice that is not a late tick but a clock
/// or a counter that jumped.
const CPU_SLACK: f64 = 2.0;
/// A cgroup that was throttled in every period is saturated, even if its use, of threads that were
/// let run late, stays short of its quota.
const THROTTLED_SHARE: f64 = 0.9;
/// Below this share of its limit, memory costs nothing.
const MEMORY_FREE: f64 = 0.8;
/// A quarter of the time spent waiting for memory is as bad as it gets.
const MEMORY_STALL: f64 = 4.0;

/// Why a utilisation is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unknown {
    /// Two looks make a rate.
    #[error("there is no earlier reading to compare with")]
    First,
    /// The container was started again.
    #[error("the cgroup was made anew since the earlier reading")]
    Restarted,
    /// A counter went backwards.
    #[error("a counter was reset since the earlier reading")]
    Reset,
    /// The clock stood still, or went backwards.
    #[error("less than 50 ms passed since the earlier reading")]
    TooSoon,
    /// The earlier look is old.
    #[error("more than a minute passed since the earlier reading")]
    TooLate,
    /// The clock or a counter jumped.
    #[error("the counters grew faster than they can")]
    Implausible,
    /// The kernel does not show it.
    #[error("the kernel does not show it for this cgroup")]
    Absent,
    /// There is nothing to compare with.
    #[error("no limit is set")]
    Unlimited,
}

/// A share from 0 to 1, or why there is none.
pub type Share = Result<f64, Unknown>;

/// The host, for those that have no limits of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// CPUs online.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// What a cgroup used of what it may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utilisations {
    /// CPU time, or periods in which the quota was used up.
    pub cpu: Share,
    /// Memory, which counts near its limit or when it is waited for.
    pub memory: Share,
    /// Block devices: against their limits, or else the time spent waiting for them.
    pub io: Share,
    /// Network, against the limit that the configuration gives.
    pub network: Share,
    /// Periods in which a quota was used up.
    pub throttled: Share,
    /// Time in which some thread waited.
    pub stalled: Stalled,
    /// CPUs that the cgroup may use at most.
    pub cores: f64,
    /// Bytes of memory that cannot be given back at once.
    pub working_set: Option<u64>,
    /// Bytes of memory that the cgroup may use at most.
    pub memory_limit: u64,
    /// Processes killed for want of memory since the earlier reading.
    pub oom_kills: u64,
}

/// Shares of the time in which some thread waited for a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalled {
    /// For a CPU.
    pub cpu: Share,
    /// For memory.
    pub memory: Share,
    /// For a block device.
    pub io: Share,
}

/// Network counters of two looks, and the limit in bytes a second, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkUse {
    /// At the earlier look.
    pub before: Option<LinkCounts>,
    /// At this one.
    pub after: Option<LinkCounts>,
    /// In each direction.
    pub limit: Option<u64>,
}

/// Compares two looks. `elapsed` is the time between them.
#[must_use]
pub fn utilisations(
    before: Option<&Reading>,
    after: &Reading,
    elapsed: Duration,
    host: Host,
    network: NetworkUse,
) -> Utilisations {
    let interval = interval(before, after, elapsed);
    let pair = interval.map(|seconds| (before.unwrap_or(after), seconds));
    let stalled = pair.map_or_else(Stalled::unknown, |(before, seconds)| {
        let share = |earlier, later| stalled(earlier, later, seconds);
        let (earlier, later) = (before.pressure, after.pressure);
        Stalled {
            cpu: share(earlier.cpu_us, later.cpu_us),
            memory: share(earlier.memory_us, later.memory_us),
            io: share(earlier.io_us, later.io_us),
        }
    });
    Utilisations {
        cpu: pair.and_then(|(before, seconds)| cpu(before, after, seconds, host)),
        memory: pair.and_then(|_| memory(after, host, stalled.memory)),
        io: pair.and_then(|(before, seconds)| io(before, after, seconds, stalled.io)),
        network: network_share(network, elapsed),
        throttled: pair.and_then(|(before, _)| throttled(before, after)),
        stalled,
        cores: cores(after, host),
        working_set: after.memory.own().map(Memory::working_set),
        memory_limit: memory_limit(after, host),
        oom_kills: pair.map_or(0, |(before, _)| {
            after.oom_kills.unwrap_or(0).saturating_sub(before.oom_kills.unwrap_or(u64::MAX))
        }),
    }
}

impl Stalled {
    const fn unknown(why: Unknown) -> Self {
        Self { cpu: Err(why), memory: Err(why), io: Err(why) }
    }
}

impl Memory {
    /// Bytes that cannot be given back at once.
    #[must_use]
    pub const fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// Seconds between two looks that can be compared.
fn interval(before: Option<&Reading>, after: &Reading, elapsed: Duration) -> Share {
    match before {
        None => Err(Unknown::First),
        Some(before) if before.identity != after.identity => Err(Unknown::Restarted),
        Some(_) => within(elapsed),
    }
}

fn within(elapsed: Duration) -> Share {
    match elapsed {
        short if short < ELAPSED_MIN => Err(Unknown::TooSoon),
        long if long > ELAPSED_MAX => Err(Unknown::TooLate),
        elapsed => Ok(elapsed.as_secs_f64()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares need no more than 52 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

fn growth(before: u64, after: u64) -> Share {
    after.checked_sub(before).map(float).ok_or(Unknown::Reset)
}

/// Of a division by nothing comes nothing.
fn share(used: f64, of: f64) -> f64 {
    let share = used / of;
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

/// The greatest of those that are known. An error only if there is none: the first, which is that of
/// the level nearest to the cgroup.
fn greatest(shares: impl IntoIterator<Item = Share>) -> Share {
    let mut greatest: Share = Err(Unknown::Absent);
    for share in shares {
        greatest = match (greatest, share) {
            (Ok(one), Ok(other)) => Ok(one.max(other)),
            (Err(Unknown::Absent), share) => share,
            (known, Err(_)) | (Err(_), known) => known,
        };
    }
    greatest
}

/// Levels that both looks have.
fn both<'a>(
    before: &'a Reading,
    after: &'a Reading,
) -> impl Iterator<Item = (&'a Cpu, &'a Level<Cpu>)> {
    after.cpu.iter().filter_map(|level| Some((before.cpu.at(level.depth)?, level)))
}

fn cpu(before: &Reading, after: &Reading, seconds: f64, host: Host) -> Share {
    let used = greatest(both(before, after).map(|(before, level)| {
        let (Some(earlier), Some(later)) = (before.usage_ns, level.value.usage_ns) else {
            return Err(Unknown::Absent);
        };
        let used = growth(earlier, later)? / 1e9;
        if used > seconds * f64::from(host.cpus.max(1)) * CPU_SLACK {
            return Err(Unknown::Implausible);
        }
        // Its cpuset binds the cgroup itself, not those that share a quota with it.
        let cores = if level.depth == 0 { width(after, host) } else { f64::from(host.cpus.max(1)) };
        let quota = level.value.quota.map_or(cores, super::reading::Quota::cores);
        Ok(share(used, seconds * quota.min(cores)))
    }));
    let throttled = throttled(before, after).map(|share| share * THROTTLED_SHARE);
    match (used, throttled) {
        (Err(Unknown::Absent), Err(_)) => Err(Unknown::Absent),
        // What is wrong with one of the two would make the other a guess.
        (Err(why @ (Unknown::Reset | Unknown::Implausible)), _)
        | (_, Err(why @ Unknown::Reset)) => Err(why),
        (used, throttled) => greatest([used, throttled]),
    }
}

/// Periods in which the quota of any level was used up.
fn throttled(before: &Reading, after: &Reading) -> Share {
    let mut greatest = Err(Unknown::Unlimited);
    for (before, level) in both(before, after).filter(|(_, level)| level.value.quota.is_some()) {
        let periods = growth(before.periods, level.value.periods)?;
        let throttled = share(growth(before.throttled, level.value.throttled)?, periods);
        greatest = Ok(throttled.max(greatest.unwrap_or(0.0)));
    }
    greatest
}

/// CPUs that the cpuset leaves.
fn width(reading: &Reading, host: Host) -> f64 {
    let cpus = host.cpus.max(1);
    f64::from(reading.cpus.filter(|&count| count > 0).map_or(cpus, |count| count.min(cpus)))
}

fn cores(reading: &Reading, host: Host) -> f64 {
    let quotas = reading.cpu.iter().filter_map(|level| level.value.quota);
    quotas.map(super::reading::Quota::cores).fold(width(reading, host), f64::min)
}

fn memory_limit(reading: &Reading, host: Host) -> u64 {
    let limits = reading.memory.iter().filter_map(|level| level.value.limit);
    limits.chain([host.memory]).min().unwrap_or(host.memory)
}

fn memory(reading: &Reading, host: Host, stalled: Share) -> Share {
    let filled = greatest(reading.memory.iter().map(|level| {
        let limit = level.value.limit.map_or(host.memory, |limit| limit.min(host.memory));
        let filled = share(float(level.value.working_set()), float(limit));
        Ok(share(filled - MEMORY_FREE, 1.0 - MEMORY_FREE))
    }));
    let stalled = stalled.map(|share| (share * MEMORY_STALL).min(1.0));
    greatest([filled, stalled])
}

fn io(before: &Reading, after: &Reading, seconds: f64, stalled: Share) -> Share {
    let known = |wanted: &LimitedDevice| {
        let mut all = before.io_limited.iter().flatten();
        all.find(|it| (it.depth, it.device) == (wanted.depth, wanted.device)).copied()
    };
    let limited = after.io_limited.iter().flatten();
    let against_limits = limited.map(|device| {
        let before = known(device).ok_or(Unknown::First)?;
        device_share(before.counts, device, seconds)
    });
    match greatest(against_limits) {
        // Without a limit, waiting is the only sign of a device that is full.
        Err(Unknown::Absent) => stalled,
        share => share,
    }
}

fn device_share(before: IoCounts, device: &LimitedDevice, seconds: f64) -> Share {
    let (after, limits) = (device.counts, device.limits);
    let mut greatest = 0.0_f64;
    for (before, after, limit) in [
        (before.read_bytes, after.read_bytes, limits.read_bytes),
        (before.written_bytes, after.written_bytes, limits.written_bytes),
        (before.reads, after.reads, limits.reads),
        (before.writes, after.writes, limits.writes),
    ] {
        let grown = growth(before, after)?;
        greatest = greatest.max(limit.map_or(0.0, |limit| share(grown, float(limit) * seconds)));
    }
    Ok(greatest)
}

fn stalled(before: Option<u64>, after: Option<u64>, seconds: f64) -> Share {
    let (Some(before), Some(after)) = (before, after) else { return Err(Unknown::Absent) };
    Ok(share(growth(before, after)? / 1e6, seconds))
}

fn network_share(network: NetworkUse, elapsed: Duration) -> Share {
    let limit = network.limit.filter(|&limit| limit > 0).ok_or(Unknown::Unlimited)?;
    let after = network.after.ok_or(Unknown::Absent)?;
    let before = network.before.ok_or(Unknown::First)?;
    if before.index != after.index {
        return Err(Unknown::Restarted);
    }
    let seconds = within(elapsed)?;
    let received = growth(before.received_bytes, after.received_bytes)?;
    let sent = growth(before.sent_bytes, after.sent_bytes)?;
    Ok(share(received.max(sent), float(limit) * seconds))
}
