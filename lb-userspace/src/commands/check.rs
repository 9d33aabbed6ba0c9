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
            Ok(loaded) => {
                let (services, backends) = totals(&loaded.config);
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
        Ok(loaded) => {
            let (services, backends) = totals(&loaded.config);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a text; standard output, standard error, and whether all is well.
    fn run(text: &str, json: bool, color: bool) -> (String, String, bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.yaml");
        std::fs::write(&path, text).unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = print(&path, json, color, &mut stdout, &mut stderr).unwrap();
        let place = format!("{}/", directory.path().display());
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&place, "");
        (text(stdout), text(stderr), code == ExitCode::SUCCESS)
    }

    #[test]
    fn a_right_one_takes_one_line() {
        let one = "services:
  - { name: a, listen: [198.18.0.1:80], backends: [{ address: 198.18.10.1:80 }] }
";
        let example = include_str!("../../../examples/weir.yaml");
        for (text, expected) in [
            (example, "weir.yaml: ok: 2 services, 5 backends\n"),
            (one, "weir.yaml: ok: 1 service, 1 backend\n"),
            ("services: []\n", "weir.yaml: ok: 0 services, 0 backends\n"),
        ] {
            assert_eq!(run(text, false, true), (expected.to_owned(), String::new(), true));
        }
    }

    #[test]
    fn a_wrong_one_is_explained_on_standard_error() {
        let (stdout, stderr, well) = run("services: []\nattach: xpd\ndrain: 0s\n", false, false);
        assert_eq!((stdout.as_str(), well), ("", false));
        assert!(stderr.contains(" --> weir.yaml:2:9\n"), "{stderr}");
        assert!(stderr.ends_with("\n2 errors in weir.yaml\n"), "{stderr}");
        let (_, colored, _) = run("services: 1\n", false, true);
        assert!(colored.contains("\x1b[1;31merror"), "{colored}");
    }

    #[test]
    fn scripts_read_standard_output() {
        let json = |text| {
            let (stdout, stderr, well) = run(text, true, true);
            assert_eq!(stderr, "");
            (serde_json::from_str::<serde_json::Value>(&stdout).unwrap(), well)
        };
        let (right, well) = json("services: []\n");
        assert!(well);
        let expected = json!({ "file": "weir.yaml", "services": 0, "backends": 0, "errors": [] });
        assert_eq!(right, expected);
        let (wrong, well) = json("services: []\ndrain: 0s\n");
        assert!(!well);
        assert_eq!(wrong["errors"][0]["line"], 2);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_wrong() {
        let path = Path::new("/nowhere/weir.yaml");
        for json in [false, true] {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let code = print(path, json, false, &mut stdout, &mut stderr).unwrap();
            assert_eq!(code, ExitCode::from(EXIT_WRONG));
            let (said, silent) = if json { (stdout, stderr) } else { (stderr, stdout) };
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains("cannot read /nowhere/weir.yaml: "), "{said}");
            assert!(silent.is_empty());
        }
    }
}
