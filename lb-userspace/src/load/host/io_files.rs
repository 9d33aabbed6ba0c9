//! The open files about block devices.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    file::{Kept, Removed, Scratch, once},
    files::limited,
    locate::{Kind, Places},
    parse::{self, Direction},
    reading::{DEVICES_MAX, Device, IoCounts, IoRates, LimitedDevice, Reading},
};

/// Only where there is a limit: without one the counts say nothing, and v1 does not even count.
/// v1 has bytes and requests in two files, v2 in one. In v1 a limit binds only the cgroup that has
/// it, in v2 all below.
#[derive(Debug, Default)]
pub(super) struct IoFiles(Vec<Level>);

#[derive(Debug)]
struct Level {
    depth: u8,
    bytes: Kept,
    requests: Option<Kept>,
    limits: BTreeMap<Device, IoRates>,
}

type Limits = BTreeMap<Device, IoRates>;

impl IoFiles {
    pub(super) fn open(places: &Places, scratch: &mut Scratch) -> io::Result<Self> {
        match places.v1_or_unified(Kind::Blkio) {
            Some((true, place)) => {
                let directory = place.directory();
                let limits = limits_v1(&directory, scratch)?;
                if limits.is_empty() {
                    return Ok(Self::default());
                }
                let bytes = Kept::open(&directory, "blkio.throttle.io_service_bytes")?;
                let requests = Some(Kept::open(&directory, "blkio.throttle.io_serviced")?);
                Ok(Self(vec![Level { depth: 0, bytes, requests, limits }]))
            }
            Some((false, place)) => {
                let mut files = Vec::new();
                for (depth, directory, limits) in
                    limited(place.levels(), |at| limits_v2(at, scratch))?
                {
                    if let Some(limits) = limits {
                        let bytes = Kept::open(&directory, "io.stat")?;
                        files.push(Level { depth, bytes, requests: None, limits });
                    }
                }
                Ok(Self(files))
            }
            None => Ok(Self::default()),
        }
    }

    pub(super) fn read(&self, reading: &mut Reading, scratch: &mut Scratch) -> Result<(), Removed> {
        let mut next = 0;
        for level in &self.0 {
            let first = next;
            for (&device, &limits) in &level.limits {
                let Some(free) = reading.io_limited.get_mut(next) else { break };
                let counts = IoCounts::default();
                *free = Some(LimitedDevice { depth: level.depth, device, limits, counts });
                next += 1;
            }
            let limited = reading.io_limited.get_mut(first..next).unwrap_or_default();
            level.read(limited, scratch)?;
        }
        Ok(())
    }
}

impl Level {
    /// Adds up the counts of the devices with limits.
    fn read(
        &self,
        limited: &mut [Option<LimitedDevice>],
        scratch: &mut Scratch,
    ) -> Result<(), Removed> {
        let mut add = |device: Device, counts: IoCounts| {
            for known in limited.iter_mut().flatten().filter(|known| known.device == device) {
                known.counts = known.counts.plus(counts);
            }
        };
        let text = self.bytes.read(scratch)?.unwrap_or_default();
        let Some(requests) = &self.requests else {
            parse::io_v2(text, add);
            return Ok(());
        };
        let none = IoCounts::default();
        parse::io_v1(text, |device, direction, count| {
            let counts = match direction {
                Direction::Read => IoCounts { read_bytes: count, ..none },
                Direction::Write => IoCounts { written_bytes: count, ..none },
            };
            add(device, counts);
        });
        let text = requests.read(scratch)?.unwrap_or_default();
        parse::io_v1(text, |device, direction, count| {
            let counts = match direction {
                Direction::Read => IoCounts { reads: count, ..none },
                Direction::Write => IoCounts { writes: count, ..none },
            };
            add(device, counts);
        });
        Ok(())
    }
}

fn limits_v2(directory: &Path, scratch: &mut Scratch) -> io::Result<Option<Limits>> {
    let mut limits = Limits::new();
    if let Some(text) = once(directory, "io.max", scratch)? {
        parse::io_limits_v2(text, |device, rates| {
            if rates.any() && limits.len() < DEVICES_MAX {
                limits.insert(device, rates);
            }
        });
    }
    Ok(Some(limits).filter(|limits| !limits.is_empty()))
}

fn limits_v1(directory: &Path, scratch: &mut Scratch) -> io::Result<Limits> {
    let mut limits = Limits::new();
    for name in ["read_bps", "write_bps", "read_iops", "write_iops"] {
        let file = format!("blkio.throttle.{name}_device");
        let Some(text) = once(directory, &file, scratch)? else { continue };
        parse::io_limits_v1(text, |device, rate| {
            if limits.len() >= DEVICES_MAX && !limits.contains_key(&device) {
                return;
            }
            let rates = limits.entry(device).or_default();
            let field = match name {
                "read_bps" => &mut rates.read_bytes,
                "write_bps" => &mut rates.written_bytes,
                "read_iops" => &mut rates.reads,
                _ => &mut rates.writes,
            };
            *field = Some(rate);
        });
    }
    Ok(limits)
}
