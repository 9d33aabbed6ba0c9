//! `weir`: the command line.

use std::{io::IsTerminal as _, process::ExitCode};

use lb_userspace::{
    chain,
    cli::{Cli, Command, DockerCommand, output},
    commands,
    config::LoadError,
    demo,
};
use tracing_subscriber::EnvFilter;

/// Exit code of wrong usage and wrong configuration.
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    log_for(&cli.command);
    match dispatch(cli.command) {
        Ok(code) => code,
        // Whoever reads us has read enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Says what went wrong; mistakes in a configuration as `weir check` shows them.
fn complain(error: &anyhow::Error) -> ExitCode {
    let of_config = error.downcast_ref::<LoadError>();
    if let Some(LoadError::Invalid(mistakes)) = of_config {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        eprint!("{}", mistakes.render(std::io::stderr().is_terminal() && !refused));
    } else {
        eprintln!("weir: {}", chain::one_line(error));
    }
    let wrong = of_config.is_some() || error.is::<commands::forecast::InputError>();
    if wrong { ExitCode::from(WRONG) } else { ExitCode::FAILURE }
}

/// Logs go to standard error; the demo shows itself, so it only logs what is wrong.
fn log_for(command: &Command) {
    let level = if matches!(command, Command::Run(_)) { "info" } else { "warn" };
    let chosen = std::env::var("WEIR_LOG").unwrap_or_else(|_| level.to_owned());
    // At lower levels bollard logs whole answers of the engine, with the containers' variables.
    let filter = EnvFilter::try_new(format!("{chosen},bollard=warn"))
        .unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let mut stdout = output::Output::stdout();
    let out = &mut stdout;
    match command {
        Command::Run(args) => commands::run::run(&args)?,
        Command::Demo(args) => {
            let shown = demo::show::run(args.seconds, args.attach)?;
            return Ok(if shown { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Check(args) => return commands::check::check(&args.file, args.format.json),
        Command::Status(args) => commands::status::run(&args, out)?,
        Command::Services(args) => commands::services::run(&args, out)?,
        Command::Backends(args) => commands::backends::run(&args, out)?,
        Command::Flows(args) => commands::flows::run(&args, out)?,
        Command::Drain(args) => commands::drain::run(&args, out)?,
        Command::Undrain(args) => commands::drain::run_undrain(&args, out)?,
        Command::Weight(args) => commands::weight::run(&args, out)?,
        Command::Explain(args) => commands::explain::run(&args, out)?,
        Command::Docker(DockerCommand::Ls(args)) => commands::docker::run(&args, out)?,
        Command::Simulate(args) => commands::simulate::run(&args, out)?,
        Command::Forecast(args) => commands::forecast::run(&args, out)?,
        Command::Place(args) => return commands::place::run(&args, out),
        Command::Decap(args) => commands::decap::run(&args, out)?,
        Command::Detach(args) => commands::detach::run(&args, out)?,
        Command::Completions { shell } => commands::completions::run(shell, out)?,
    }
    Ok(ExitCode::SUCCESS)
}
