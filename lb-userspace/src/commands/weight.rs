//! `weir weight`: change a backend's share by hand.

use std::io::Write as _;

use crate::{
    admin::{client::ask, protocol::Request, report::Done},
    cli::{WeightArgs, WeightValue, output::Output, table::printable},
};

/// Tells the daemon.
pub fn run(arguments: &WeightArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    let weight = match arguments.weight {
        WeightValue::Auto => None,
        WeightValue::Fixed(weight) => Some(weight.get()),
    };
    let service = arguments.service.to_string();
    let request = Request::Weight { service, backend: arguments.backend, weight };
    let done: Done = ask(&arguments.connection.socket, &request)?;
    writeln!(output, "{}", printable(&done.text))?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::fake,
        model::{ServiceName, Weight},
    };

    #[test]
    fn weights_are_set_and_given_back() {
        let daemon = fake::Daemon::start();
        let backend = "198.18.10.2:8080".parse().unwrap();
        for (value, weight) in [
            (WeightValue::Fixed(Weight::new(0).unwrap()), Some(0)),
            (WeightValue::Fixed(Weight::new(1000).unwrap()), Some(1000)),
            (WeightValue::Auto, None),
        ] {
            let arguments = WeightArgs {
                service: ServiceName::new("web").unwrap(),
                backend,
                weight: value,
                connection: daemon.at(),
            };
            let text = fake::printed(|output| run(&arguments, output)).unwrap();
            assert_eq!(text, "done\n");
            assert_eq!(
                daemon.asked(),
                [Request::Weight { service: "web".into(), backend, weight }]
            );
        }
    }

    #[test]
    fn the_daemons_refusal_is_the_error() {
        let daemon = fake::Daemon::refusing();
        let arguments = WeightArgs {
            service: ServiceName::new("web").unwrap(),
            backend: "198.18.10.9:8080".parse().unwrap(),
            weight: WeightValue::Auto,
            connection: daemon.at(),
        };
        let error = fake::printed(|output| run(&arguments, output)).unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
