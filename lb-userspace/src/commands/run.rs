//! `weir run`.

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::{
    cli::RunArgs,
    config::{self, Loaded},
    daemon, privileges, seccomp,
};

/// Runs the daemon until a signal ends it.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let Loaded { config, docker } = config::load(&args.config)?;
    let options = daemon::Options {
        config,
        file: Some(args.config.clone()),
        bpffs: Some(args.bpffs.clone()),
    };
    daemon::ports::allow_many_files();
    privileges::drop_the_rest().context("cannot give up privileges that are not needed")?;
    if let Err(error) = seccomp::refuse() {
        // Built without filters, the kernel still balances.
        tracing::warn!(%error, "system calls that are not needed are not refused");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (ready, _is_ready) = oneshot::channel();
    let (_stop, stopped) = oneshot::channel();
    runtime.block_on(daemon::run_with(options, docker, ready, stopped))
}
