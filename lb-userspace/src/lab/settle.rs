//! IPv6 addresses of a new link are tentative for a moment, even without duplicate detection: no
//! socket can be bound to one until the kernel has looked at it.

use std::{fs, io, thread, time::Duration};

use super::{LabError, Netns};

/// `IFA_F_TENTATIVE` of `linux/if_addr.h`.
const TENTATIVE: u8 = 0x40;
const STEP: Duration = Duration::from_millis(5);
const STEPS_MAX: u32 = 400;

/// Waits until no address of these namespaces is tentative.
pub(super) fn settle<'a>(namespaces: impl Iterator<Item = &'a Netns>) -> Result<(), LabError> {
    for netns in namespaces {
        let enter = |source| LabError::Enter { name: netns.name().to_owned(), source };
        netns.in_netns(wait).and_then(|waited| waited).map_err(enter)?;
    }
    Ok(())
}

fn wait() -> io::Result<()> {
    for _ in 0..STEPS_MAX {
        // Of the thread, which is in the namespace, not of the process.
        if !has_tentative(&fs::read_to_string("/proc/thread-self/net/if_inet6")?) {
            return Ok(());
        }
        thread::sleep(STEP);
    }
    Err(io::Error::other("an IPv6 address stays tentative"))
}

/// Columns: address, index, prefix length, scope, flags, name.
fn has_tentative(table: &str) -> bool {
    table.lines().any(|line| {
        let flags = line.split_ascii_whitespace().nth(4);
        flags.and_then(|hex| u8::from_str_radix(hex, 16).ok()).is_some_and(|f| f & TENTATIVE != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tentative_addresses_are_seen() {
        let ready = "fd000018000000000000000000000002 02 40 00 82     eth0\n";
        let waiting = "fe80000000000000000000fffe000002 02 40 20 c0     eth0\n";
        for (table, tentative) in [
            (ready.to_owned(), false),
            (waiting.to_owned(), true),
            (format!("{ready}{waiting}"), true),
            (String::new(), false),
            ("nonsense\n".to_owned(), false),
        ] {
            assert_eq!(has_tentative(&table), tentative, "{table:?}");
        }
    }
}
