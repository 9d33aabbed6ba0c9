//! `weir check`: every mistake in a configuration at once.

use std::{
    io::{self, IsTerminal as _, Write},
    path::Path,
    process::ExitCode,
};

use serde_json::json;

use crate::{
    config::{self, LoadError},
    model::Config,
};

/// Wrong usage or configuration.
const EXIT_WRONG: u8 = 2;

/// Validates the file. What is wrong goes to standard error, with `json` to standard output, where
/// scripts look.
pub fn check(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    // https://no-color.org: the variable counts when it is set and not empty.
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = io::stderr().is_terminal() && !refused;
    print(path, json, color, &mut io::stdout().lock(), &mut io::stderr().lock())
}

fn print(
    path: &Path,
    json: bool,
    color: bool,
    stdout: &mut impl Write,
    stderr: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let loaded = config::load(path);
    let code = if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_WRONG) };
    let name = path.display();
    if json {
        let answer = match &loaded {
            Ok(config) => {
                let (services, backends) = totals(config);
                json!({ "file": name.to_string(), "services": services, "backends": backends,
                    "errors": [] })
            }
            Err(LoadError::Invalid(mistakes)) => serde_json::to_value(mistakes)?,
            Err(other) => json!({ "file": name.to_string(),
                "errors": [{ "message": other.to_string() }] }),
        };
        writeln!(stdout, "{answer:#}")?;
        return Ok(code);
    }
    match loaded {
        Ok(config) => {
            let (services, backends) = totals(&config);
            writeln!(
                stdout,
                "{name}: ok: {}, {}",
                count(services, "service"),
                count(backends, "backend")
            )?;
        }
        Err(LoadError::Invalid(mistakes)) => stderr.write_all(mistakes.render(color).as_bytes())?,
        Err(other) => writeln!(stderr, "error: {other}")?,
    }
    Ok(code)
}

fn totals(config: &Config) -> (usize, usize) {
    (config.services.len(), config.services.iter().map(|service| service.backends.len()).sum())
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
