//! What the machine has.

use std::{fs, io, path::Path};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Host, parse};

/// The host's CPUs and memory.
pub fn host() -> io::Result<Host> {
    let online = read("/sys/devices/system/cpu/online")?;
    let cpus = parse::cpu_count(&online).ok_or_else(|| not_understood("cpu/online"))?;
    let meminfo = read("/proc/meminfo")?;
    let memory = memory(&meminfo).ok_or_else(|| not_understood("meminfo"))?;
    Ok(Host { cpus, memory })
}

/// Raises the limit of open files to what the administrator allows, and says what that is. A few
/// hundred cgroups, each with its files open, are more than the usual limit.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, allowed, allowed)?;
    Ok(allowed)
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    fs::read(Path::new(path))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read {path}: {error}")))
}

fn not_understood(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's {what} is not understood"))
}

/// The first line of `/proc/meminfo`: `MemTotal:  N kB`.
fn memory(text: &[u8]) -> Option<u64> {
    let total = text.split(|&byte| byte == b'\n').find_map(|it| it.strip_prefix(b"MemTotal:"))?;
    parse::number(total.strip_suffix(b" kB")?)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_memory_is_in_its_line() {
        #[rustfmt::skip]
        let table: [(&[u8], Option<u64>); 6] = [
            (b"MemTotal:       24684148 kB\nMemFree:  1 kB\n", Some(24_684_148 * 1024)),
            (b"MemFree:  1 kB\n",                                None),
            (b"MemTotal:       24684148\n",                      None),
            (b"MemTotal:       x kB\n",                          None),
            (b"MemTotal: 18446744073709551615 kB\n",             None),
            (b"",                                                None),
        ];
        for (text, expected) in table {
            assert_eq!(memory(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let host = host().unwrap();
        assert!(host.cpus >= 1 && host.memory > 1 << 20, "{host:?}");
    }
}
