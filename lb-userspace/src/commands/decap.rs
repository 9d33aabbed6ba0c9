//! `weir decap`: the other end of a tunnel, on a backend's host.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{
        DecapArgs,
        output::Output,
        table::{
            Align::{Left, Right},
            Table,
        },
    },
    dataplane::decap::Decapsulator,
    privileges,
};

/// How often this host's addresses are read.
const REFRESH: Duration = Duration::from_secs(1);

/// Unwraps until a signal ends it, then tells how many packets ended how.
pub fn run(args: &DecapArgs, out: &mut Output<'_>) -> anyhow::Result<()> {
    privileges::drop_the_rest().context("cannot give up privileges that are not needed")?;
    let mut program = Decapsulator::load(&args.from, args.gue_port)?;
    for interface in &args.interfaces {
        program
            .attach(interface)
            .with_context(|| format!("{interface}: cannot attach to tc ingress"))?;
    }
    if !args.format.json {
        writeln!(out, "unwrapping what arrives by {}", args.interfaces.join(", "))?;
        out.flush()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(until_told(&mut program))?;
    let counters = program.counters()?;
    if args.format.json {
        let named: BTreeMap<_, _> = counters.iter().map(|(r, n)| (r.name(), *n)).collect();
        output(out, &named)
    } else {
        let mut table = Table::new(&[("REASON", Left), ("PACKETS", Right)]);
        for (reason, count) in counters {
            table.row([reason.name().into(), count.to_string().into()]);
        }
        Ok(out.table(&table)?)
    }
}

fn output(out: &mut Output<'_>, named: &BTreeMap<&str, u64>) -> anyhow::Result<()> {
    Ok(out.json(named)?)
}

async fn until_told(program: &mut Decapsulator) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = tokio::time::sleep(REFRESH) => program.refresh()?,
        }
    }
}
