//! `weir drain` and `weir undrain`: take a backend out of service gently, and back.

use std::io::Write as _;

use crate::{
    admin::{client::ask, protocol::Request, report::Done},
    cli::{DrainArgs, output::Output, table::printable},
};

/// Gives a backend no new flows.
pub fn run(arguments: &DrainArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    change(arguments, &Request::Drain { backend: arguments.backend }, output)
}

/// Gives it new flows again.
pub fn run_undrain(arguments: &DrainArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    change(arguments, &Request::Undrain { backend: arguments.backend }, output)
}

fn change(arguments: &DrainArgs, request: &Request, output: &mut Output<'_>) -> anyhow::Result<()> {
    let done: Done = ask(&arguments.connection.socket, request)?;
    writeln!(output, "{}", printable(&done.text))?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fake;

    #[test]
    fn the_daemon_is_told_and_what_it_did_is_printed() {
        let daemon = fake::Daemon::start();
        let backend = "[fd00::2]:53/udp".parse().unwrap();
        let arguments = DrainArgs { backend, connection: daemon.at() };
        let text = fake::printed(|output| run(&arguments, output)).unwrap();
        assert_eq!(text, "done\n");
        let text = fake::printed(|output| run_undrain(&arguments, output)).unwrap();
        assert_eq!(text, "done\n");
        assert_eq!(daemon.asked(), [Request::Drain { backend }, Request::Undrain { backend }]);
    }

    #[test]
    fn refusals_and_absence_are_errors() {
        let backend = "198.18.10.2:8080".parse().unwrap();
        let daemon = fake::Daemon::refusing();
        let arguments = DrainArgs { backend, connection: daemon.at() };
        for command in [run, run_undrain] {
            let error = fake::printed(|output| command(&arguments, output)).unwrap_err();
            assert_eq!(error.to_string(), "no");
        }
        let (_directory, connection) = fake::nobody();
        let arguments = DrainArgs { backend, connection };
        let error = fake::printed(|output| run(&arguments, output)).unwrap_err();
        assert!(error.to_string().starts_with("no daemon answers"), "{error}");
    }
}
