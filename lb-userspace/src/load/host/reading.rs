//! What one look at a cgroup gives: raw counters and limits, as the kernel has them.

/// Levels of a path that are looked at: the cgroup itself, and the nearest ones above it that have
/// a limit. Kubernetes has three (container, pod, class of service), systemd as many slices.
pub const LEVELS_MAX: usize = 4;
/// Block devices with limits that are looked at.
pub const DEVICES_MAX: usize = 4;

/// One look at a cgroup. Counters grow from the cgroup's creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Differs for a cgroup that was removed and made again at the same path.
    pub identity: u64,
    /// CPU, by level.
    pub cpu: Levels<Cpu>,
    /// CPUs that the cpuset allows.
    pub cpus: Option<u32>,
    /// Memory, by level.
    pub memory: Levels<Memory>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
    /// The block devices with a limit.
    pub io_limited: [Option<LimitedDevice>; DEVICES_MAX],
    /// Pressure stall information.
    pub pressure: Pressure,
}

/// A fixed number of levels, the cgroup's own first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels<T>([Option<Level<T>>; LEVELS_MAX]);

/// One cgroup of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level<T> {
    /// Steps up from the cgroup itself, which has 0.
    pub depth: u8,
    /// What it shows.
    pub value: T,
}

/// CPU of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// CPU time used, in nanoseconds.
    pub usage_ns: Option<u64>,
    /// The quota, if there is one.
    pub quota: Option<Quota>,
    /// Periods that the quota was enforced in.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled: u64,
    /// Time that threads were kept waiting by it, in nanoseconds.
    pub throttled_ns: u64,
}

/// A CFS quota. Its period is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    quota_us: u64,
    period_us: u64,
}

/// Memory of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes charged.
    pub usage: u64,
    /// Bytes of the page cache that were not used lately and can be given back at once. Far from the
    /// limit those of some readings ago.
    pub inactive_file: u64,
    /// Bytes that may be charged.
    pub limit: Option<u64>,
}

/// A block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Its driver.
    pub major: u32,
    /// Its number there.
    pub minor: u32,
}

/// What went to and from block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Requests that read.
    pub reads: u64,
    /// Requests that wrote.
    pub writes: u64,
}

/// Limits of a block device, a second. None is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoRates {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub written_bytes: Option<u64>,
    /// Requests that read.
    pub reads: Option<u64>,
    /// Requests that write.
    pub writes: Option<u64>,
}

/// A block device with a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitedDevice {
    /// The level that has the limit.
    pub depth: u8,
    /// The device.
    pub device: Device,
    /// Its limits.
    pub limits: IoRates,
    /// What that level did with it.
    pub counts: IoCounts,
}

/// Time during which some thread waited for a resource, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// For a CPU.
    pub cpu_us: Option<u64>,
    /// For memory.
    pub memory_us: Option<u64>,
    /// For a block device.
    pub io_us: Option<u64>,
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Self([const { None }; LEVELS_MAX])
    }
}

impl<T> Levels<T> {
    /// Adds a level above those that are there. What does not fit is left out.
    pub fn push(&mut self, depth: u8, value: T) {
        if let Some(free) = self.0.iter_mut().find(|level| level.is_none()) {
            *free = Some(Level { depth, value });
        }
    }

    /// From the cgroup itself upwards.
    pub fn iter(&self) -> impl Iterator<Item = &Level<T>> {
        self.0.iter().flatten()
    }

    /// The cgroup itself.
    #[must_use]
    pub fn own(&self) -> Option<&T> {
        self.at(0)
    }

    /// The level so many steps up.
    #[must_use]
    pub fn at(&self, depth: u8) -> Option<&T> {
        self.iter().find(|level| level.depth == depth).map(|level| &level.value)
    }
}

impl Quota {
    /// A quota, unless one of the two is zero.
    #[must_use]
    pub const fn new(quota_us: u64, period_us: u64) -> Option<Self> {
        if quota_us == 0 || period_us == 0 { None } else { Some(Self { quota_us, period_us }) }
    }

    /// How many CPUs it is worth.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "microseconds below 2^52 are exact")]
    pub fn cores(self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }
}

impl IoCounts {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            written_bytes: self.written_bytes.saturating_add(other.written_bytes),
            reads: self.reads.saturating_add(other.reads),
            writes: self.writes.saturating_add(other.writes),
        }
    }
}

impl IoRates {
    /// Whether anything is limited.
    #[must_use]
    pub const fn any(self) -> bool {
        self.read_bytes.is_some()
            || self.written_bytes.is_some()
            || self.reads.is_some()
            || self.writes.is_some()
    }
}
