//! The open files of one cgroup, and of those above it that have a limit.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Host,
    file::{Kept, Removed, Scratch, once},
    io_files::IoFiles,
    locate::{Kind, Place, Places},
    parse,
    reading::{Cpu, Memory, Pressure, Quota, Reading},
};

/// Counters stay open; limits are read when these are opened.
#[derive(Debug)]
pub(super) struct Files {
    identity: u64,
    cpu: Vec<CpuFiles>,
    cpus: Option<u32>,
    memory: Vec<MemoryFiles>,
    oom: Oom,
    io: IoFiles,
    /// CPU, memory, io.
    pressure: [Kept; 3],
}

#[derive(Debug)]
struct CpuFiles {
    depth: u8,
    v1: bool,
    /// In v2 there is none of its own: `stat` has it.
    usage: Option<Kept>,
    stat: Kept,
    quota: Option<Quota>,
}

#[derive(Debug)]
struct MemoryFiles {
    depth: u8,
    v1: bool,
    usage: Kept,
    stat: Kept,
    limit: Option<u64>,
    /// Below this use, memory cannot matter.
    free: u64,
    /// Inactive bytes when the files were opened.
    inactive_file: u64,
}

#[derive(Debug)]
struct Oom(Kept);

impl Files {
    pub(super) fn open(
        places: &Places,
        identity: u64,
        host: Host,
        scratch: &mut Scratch,
    ) -> io::Result<Self> {
        let unified = places.get(Kind::Unified).and_then(Place::own_directory);
        let pressure = |name| match &unified {
            Some(directory) => Kept::open(directory, name),
            None => Ok(Kept::absent()),
        };
        Ok(Self {
            identity,
            cpu: open_cpu(places, scratch)?,
            cpus: cpus(places, scratch)?,
            memory: open_memory(places, host, scratch)?,
            oom: Oom::open(places)?,
            io: IoFiles::open(places, scratch)?,
            pressure: [
                pressure("cpu.pressure")?,
                pressure("memory.pressure")?,
                pressure("io.pressure")?,
            ],
        })
    }

    pub(super) const fn identity(&self) -> u64 {
        self.identity
    }

    pub(super) fn read(&self, scratch: &mut Scratch) -> Result<Reading, Removed> {
        let mut reading =
            Reading { identity: self.identity, cpus: self.cpus, ..Reading::default() };
        for files in &self.cpu {
            reading.cpu.push(files.depth, files.read(scratch)?);
        }
        for files in &self.memory {
            if let Some(memory) = files.read(scratch)? {
                reading.memory.push(files.depth, memory);
            }
        }
        reading.oom_kills = self.oom.read(scratch)?;
        self.io.read(&mut reading, scratch)?;
        let mut pressure = [None; 3];
        for (total, file) in pressure.iter_mut().zip(&self.pressure) {
            *total = file.read(scratch)?.and_then(parse::pressure);
        }
        let [cpu_us, memory_us, io_us] = pressure;
        reading.pressure = Pressure { cpu_us, memory_us, io_us };
        Ok(reading)
    }
}

/// The directories of a path that matter, with their depths and what decided: the cgroup's own
/// always, those above it if `limit` finds one there.
pub(super) fn limited<T>(
    levels: impl Iterator<Item = (u8, PathBuf)>,
    mut limit: impl FnMut(&Path) -> io::Result<Option<T>>,
) -> io::Result<Vec<(u8, PathBuf, Option<T>)>> {
    let mut found = Vec::new();
    for (depth, directory) in levels {
        let limit = limit(&directory)?;
        if depth == 0 || limit.is_some() {
            found.push((depth, directory, limit));
        }
    }
    found.truncate(super::reading::LEVELS_MAX);
    Ok(found)
}

fn open_cpu(places: &Places, scratch: &mut Scratch) -> io::Result<Vec<CpuFiles>> {
    let Some((v1, place)) = places.v1_or_unified(Kind::Cpu) else { return Ok(Vec::new()) };
    let levels = limited(place.levels(), |directory| quota(v1, directory, scratch))?;
    let open = |(depth, directory, quota): (u8, PathBuf, _)| {
        let usage = if v1 { Some(usage_v1(places, depth, &directory)?) } else { None };
        Ok(CpuFiles { depth, v1, usage, stat: Kept::open(&directory, "cpu.stat")?, quota })
    };
    levels.into_iter().map(open).collect()
}

/// `cpu` and `cpuacct` are mostly, but not always, one hierarchy. A process may be deeper in one
/// than in the other, so above its own cgroup only equal paths belong together.
fn usage_v1(places: &Places, depth: u8, directory: &Path) -> io::Result<Kept> {
    let (Some(cpu), Some(usage)) = (places.get(Kind::Cpu), places.get(Kind::Cpuacct)) else {
        return Ok(Kept::absent());
    };
    let directory = match directory.strip_prefix(&cpu.mount) {
        Ok(below) if depth > 0 => usage.mount.join(below),
        Ok(_) | Err(_) => match usage.own_directory() {
            Some(directory) => directory,
            None => return Ok(Kept::absent()),
        },
    };
    Kept::open(&directory, "cpuacct.usage")
}

fn quota(v1: bool, directory: &Path, scratch: &mut Scratch) -> io::Result<Option<Quota>> {
    if !v1 {
        let text = once(directory, "cpu.max", scratch)?;
        return Ok(text.and_then(parse::quota_v2));
    }
    let quota = once(directory, "cpu.cfs_quota_us", scratch)?.and_then(parse::number);
    let period = once(directory, "cpu.cfs_period_us", scratch)?.and_then(parse::number);
    // The quota is -1, which is no number, where there is none.
    Ok(quota.zip(period).and_then(|(quota, period)| Quota::new(quota, period)))
}

/// The nearest cpuset of the path that says anything.
fn cpus(places: &Places, scratch: &mut Scratch) -> io::Result<Option<u32>> {
    let Some((v1, place)) = places.v1_or_unified(Kind::Cpuset) else { return Ok(None) };
    let name = if v1 { "cpuset.effective_cpus" } else { "cpuset.cpus.effective" };
    for (_, directory) in place.levels() {
        if let Some(count) = once(&directory, name, scratch)?.and_then(parse::cpu_count) {
            return Ok(Some(count));
        }
    }
    Ok(None)
}

impl CpuFiles {
    fn read(&self, scratch: &mut Scratch) -> Result<Cpu, Removed> {
        let mut cpu = Cpu { quota: self.quota, ..Cpu::default() };
        if let Some(usage) = &self.usage {
            cpu.usage_ns = usage.read(scratch)?.and_then(parse::number);
        }
        let Some(stat) = self.stat.read(scratch)? else { return Ok(cpu) };
        let value = |key| parse::keyed(stat, key);
        cpu.periods = value(b"nr_periods").unwrap_or(0);
        cpu.throttled = value(b"nr_throttled").unwrap_or(0);
        let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
        if self.v1 {
            cpu.throttled_ns = value(b"throttled_time").unwrap_or(0);
        } else {
            cpu.usage_ns = value(b"usage_usec").map(nanoseconds);
            cpu.throttled_ns = value(b"throttled_usec").map_or(0, nanoseconds);
        }
        Ok(cpu)
    }
}

fn open_memory(places: &Places, host: Host, scratch: &mut Scratch) -> io::Result<Vec<MemoryFiles>> {
    let Some((v1, place)) = places.v1_or_unified(Kind::Memory) else { return Ok(Vec::new()) };
    let names = if v1 {
        ["memory.limit_in_bytes", "memory.usage_in_bytes"]
    } else {
        ["memory.max", "memory.current"]
    };
    let levels = limited(place.levels(), |directory| {
        Ok(once(directory, names[0], scratch)?.and_then(parse::limit))
    })?;
    let mut files = Vec::with_capacity(levels.len());
    for (depth, directory, limit) in levels {
        let usage = Kept::open(&directory, names[1])?;
        let stat = Kept::open(&directory, "memory.stat")?;
        let free = limit.unwrap_or(host.memory).min(host.memory) / 4 * 3;
        let mut opened = MemoryFiles { depth, v1, usage, stat, limit, free, inactive_file: 0 };
        // Removed meanwhile: the first reading will tell.
        opened.inactive_file = opened.inactive(scratch).unwrap_or(0);
        files.push(opened);
    }
    Ok(files)
}

impl MemoryFiles {
    /// The statistics cost more than all other files together, because the kernel has to add them
    /// up. They are read where they can matter, near the limit; before, those of the opening do.
    fn read(&self, scratch: &mut Scratch) -> Result<Option<Memory>, Removed> {
        let Some(usage) = self.usage.read(scratch)?.and_then(parse::number) else {
            return Ok(None);
        };
        let matters = usage >= self.free;
        let inactive_file = if matters { self.inactive(scratch)? } else { self.inactive_file };
        Ok(Some(Memory { usage, inactive_file, limit: self.limit }))
    }

    fn inactive(&self, scratch: &mut Scratch) -> Result<u64, Removed> {
        // With its children's, as the usage is: v2 counts that way, v1 under another name.
        let key: &[u8] = if self.v1 { b"total_inactive_file" } else { b"inactive_file" };
        Ok(self.stat.read(scratch)?.and_then(|text| parse::keyed(text, key)).unwrap_or(0))
    }
}

impl Oom {
    fn open(places: &Places) -> io::Result<Self> {
        let memory = places.v1_or_unified(Kind::Memory);
        match memory.and_then(|(v1, place)| Some((v1, place.own_directory()?))) {
            Some((true, directory)) => Kept::open(&directory, "memory.oom_control"),
            Some((false, directory)) => Kept::open(&directory, "memory.events"),
            None => Ok(Kept::absent()),
        }
        .map(Self)
    }

    fn read(&self, scratch: &mut Scratch) -> Result<Option<u64>, Removed> {
        Ok(self.0.read(scratch)?.and_then(|text| parse::keyed(text, b"oom_kill")))
    }
}
