//! `weir detach`.

use std::io::Write as _;

use anyhow::Context as _;

use crate::{
    cli::{DetachArgs, output::Output},
    dataplane::pins::Pins,
};

/// Takes whatever a daemon left behind off this host.
pub fn run(args: &DetachArgs, out: &mut Output<'_>) -> anyhow::Result<()> {
    let removed = Pins::new(&args.bpffs).remove().with_context(|| {
        format!("cannot remove the pins under {}: run as root", args.bpffs.display())
    })?;
    if removed.links + removed.maps == 0 {
        writeln!(out, "nothing to detach under {}", args.bpffs.display())?;
    } else {
        writeln!(out, "detached {} programs, removed {} maps", removed.links, removed.maps)?;
    }
    Ok(())
}
