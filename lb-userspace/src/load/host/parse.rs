//! The texts of cgroup files, read as bytes and without allocation.
//!
//! A text that is not what the kernel documents gives `None` or no line, never a guess. Formats:
//! `Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/` beside it, and `accounting/psi.rst`.

use super::reading::{Device, IoCounts, IoRates, Quota};

/// What a v1 kernel writes for "no limit" is the largest page-aligned number, which depends on the
/// size of its pages. No machine has a quarter of that.
const NO_LIMIT_MIN: u64 = 1 << 61;
/// Kernels are built for 8192 CPUs at most.
const CPU_MAX: u64 = 8191;

/// The lines of a text.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// A number in decimal digits, and nothing else.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
}

/// A file of one number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    digits(text.trim_ascii())
}

/// The number behind a key, in a file of `key number` lines.
pub(super) fn keyed(text: &[u8], key: &[u8]) -> Option<u64> {
    let value = |line: &'_ [u8]| line.strip_prefix(key)?.strip_prefix(b" ").and_then(number);
    lines(text).find_map(value)
}

/// A limit in bytes. `max` is none, and so is the huge number of v1.
pub(super) fn limit(text: &[u8]) -> Option<u64> {
    number(text).filter(|&bytes| bytes < NO_LIMIT_MIN)
}

/// `cpu.max`: `QUOTA PERIOD`, in microseconds, or `max PERIOD` without one.
pub(super) fn quota_v2(text: &[u8]) -> Option<Quota> {
    let mut fields = words(text.trim_ascii());
    let (quota, period) = (digits(fields.next()?)?, digits(fields.next()?)?);
    if fields.next().is_some() { None } else { Quota::new(quota, period) }
}

/// How many CPUs a list such as `0-3,8` names. An empty list, of a v1 cpuset that nobody set up,
/// names none and says nothing.
pub(super) fn cpu_count(text: &[u8]) -> Option<u32> {
    let mut count = 0;
    for range in text.trim_ascii().split(|&byte| byte == b',') {
        let mut ends = range.splitn(2, |&byte| byte == b'-');
        let first = digits(ends.next()?)?;
        let last = ends.next().map_or(Some(first), digits)?;
        if first > last || last > CPU_MAX {
            return None;
        }
        count += last - first + 1;
    }
    u32::try_from(count).ok()
}

/// The total of the `some` line of a pressure file, in microseconds.
pub(super) fn pressure(text: &[u8]) -> Option<u64> {
    let line = lines(text).find_map(|line| line.strip_prefix(b"some "))?;
    words(line).find_map(|word| word.strip_prefix(b"total=")).and_then(digits)
}

/// `MAJOR:MINOR`.
fn device(text: &[u8]) -> Option<Device> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    let part = |text| digits(text).and_then(|number| u32::try_from(number).ok());
    Some(Device { major: part(&text[..colon])?, minor: part(&text[colon + 1..])? })
}

/// `io.stat`: the counts of each device. Some kernels leave out the line's end behind a device
/// without counts, so a further device in a line takes over.
pub(super) fn io_v2(text: &[u8], mut each: impl FnMut(Device, IoCounts)) {
    for line in lines(text) {
        let (mut of, mut counts, mut any) = (None, IoCounts::default(), false);
        for word in words(line) {
            if let Some(device) = device(word) {
                if let (Some(before), true) = (of, any) {
                    each(before, counts);
                }
                (of, counts, any) = (Some(device), IoCounts::default(), false);
            }
            let Some((key, value)) = pair(word) else { continue };
            let Some(field) = counts.field(key) else { continue };
            let Some(value) = digits(value) else { break };
            (*field, any) = (value, true);
        }
        if let (Some(device), true) = (of, any) {
            each(device, counts);
        }
    }
}

/// `KEY=VALUE`.
fn pair(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = word.iter().position(|&byte| byte == b'=')?;
    Some((&word[..equals], &word[equals + 1..]))
}

impl IoCounts {
    fn field(&mut self, key: &[u8]) -> Option<&mut u64> {
        match key {
            b"rbytes" => Some(&mut self.read_bytes),
            b"wbytes" => Some(&mut self.written_bytes),
            b"rios" => Some(&mut self.reads),
            b"wios" => Some(&mut self.writes),
            _ => None,
        }
    }
}

/// `io.max`: the limits of each device.
pub(super) fn io_limits_v2(text: &[u8], mut each: impl FnMut(Device, IoRates)) {
    for line in lines(text) {
        let mut fields = words(line);
        let Some(device) = fields.next().and_then(device) else { continue };
        let mut rates = IoRates::default();
        for (key, value) in fields.filter_map(pair) {
            let field = match key {
                b"rbps" => &mut rates.read_bytes,
                b"wbps" => &mut rates.written_bytes,
                b"riops" => &mut rates.reads,
                b"wiops" => &mut rates.writes,
                _ => continue,
            };
            // A word that is no number is `max`, or not understood: no limit either way.
            *field = digits(value).filter(|&rate| rate > 0);
        }
        each(device, rates);
    }
}

/// Which half of a v1 line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// `blkio.throttle.io_service_bytes` or `io_serviced`: `DEVICE Read N` and `DEVICE Write N`; the
/// other words sum up the same requests again.
pub(super) fn io_v1(text: &[u8], mut each: impl FnMut(Device, Direction, u64)) {
    for line in lines(text) {
        let mut fields = words(line);
        let Some(device) = fields.next().and_then(device) else { continue };
        let direction = match fields.next() {
            Some(b"Read") => Direction::Read,
            Some(b"Write") => Direction::Write,
            Some(_) | None => continue,
        };
        if let (Some(value), None) = (fields.next().and_then(digits), fields.next()) {
            each(device, direction, value);
        }
    }
}

/// A file of `DEVICE RATE` lines, such as `blkio.throttle.read_bps_device`.
pub(super) fn io_limits_v1(text: &[u8], mut each: impl FnMut(Device, u64)) {
    for line in lines(text) {
        let mut fields = words(line);
        let Some(device) = fields.next().and_then(device) else { continue };
        if let (Some(rate), None) = (fields.next().and_then(digits), fields.next())
            && rate > 0
        {
            each(device, rate);
        }
    }
}
