//! `weir completions`: what a shell needs to complete a command line.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::cli::{Cli, output::Output};

/// Prints the script.
pub fn run(shell: Shell, output: &mut Output<'_>) -> anyhow::Result<()> {
    // The generator panics where it cannot write, as it does into `| head`.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "weir", &mut script);
    output.write_all(&script)?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::commands::fake;

    #[test]
    fn every_shell_learns_every_command() {
        for &shell in Shell::value_variants() {
            let script = fake::printed(|output| run(shell, output)).unwrap();
            for command in Cli::command().get_subcommands() {
                let name = command.get_name();
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }
}
