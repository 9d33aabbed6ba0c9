//! A real Docker engine in a network namespace of its own, containers without any registry, and
//! the program as users start it.

#![allow(
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may"
)]

mod docker {
    mod beside;
    mod compose;
    pub(crate) mod engine;
    mod engines;
    mod hosts;
    mod image;
    mod life;
    mod load;
    mod networks;
    mod ports;
    mod scale;
    mod verdicts;
    pub(crate) mod world;
}
