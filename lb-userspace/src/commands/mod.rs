//! The commands that ask a running daemon, and those that need none. Each takes its arguments and
//! a place to print to; the program turns an error into exit code 1.

pub mod backends;
pub mod check;
pub mod completions;
pub mod decap;
pub mod detach;
pub mod docker;
pub mod drain;
pub mod explain;
pub mod flows;
pub mod forecast;
pub mod place;
pub mod run;
pub mod services;
pub mod simulate;
pub mod status;
mod watch;
pub mod weight;

#[cfg(test)]
mod fake;
