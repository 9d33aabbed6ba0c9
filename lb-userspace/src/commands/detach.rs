//! `weir detach`.

use std::io::Write as _;

use anyhow::{Context as _, bail};

use crate::{
    cli::{DetachArgs, output::Output},
    dataplane::pins::{Pins, Removed},
};

/// Takes whatever daemons that are no more left behind off this host, in all network namespaces.
pub fn run(args: &DetachArgs, out: &mut Output<'_>) -> anyhow::Result<()> {
    let cannot = || format!("cannot remove the pins under {}: run as root", args.bpffs.display());
    let mut sum = Removed::default();
    let mut held = Vec::new();
    for pins in Pins::all(&args.bpffs).with_context(cannot)? {
        match pins.lock() {
            Ok(_lock) => {
                let removed = pins.remove().with_context(cannot)?;
                sum.links += removed.links;
                sum.maps += removed.maps;
            }
            Err(error) => held.push(error.to_string()),
        }
    }
    if sum.links + sum.maps > 0 {
        writeln!(out, "detached {} programs, removed {} maps", sum.links, sum.maps)?;
    } else if held.is_empty() {
        writeln!(out, "nothing to detach under {}", args.bpffs.display())?;
    }
    if !held.is_empty() {
        bail!("{}", held.join("\n"));
    }
    Ok(())
}
