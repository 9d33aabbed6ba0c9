//! Real connections through real attach points, in network namespaces: the kernel's TCP and UDP,
//! curl, and the built-in load against the daemon as it runs in production.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::duration_suboptimal_units,
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may"
)]

mod netns {
    mod bodies;
    mod capacities;
    mod corners;
    mod crowd;
    mod direct;
    mod failures;
    mod flood;
    mod floods;
    mod flows;
    mod full_nat;
    mod guards;
    mod hooks;
    mod host_backends;
    mod iperf;
    mod lives;
    mod machines;
    mod outages;
    mod policies;
    mod process;
    mod reports;
    mod restarts;
    mod silence;
    mod site;
    mod soak;
    mod sockets;
    mod starts;
    mod traffic;
    mod tunnels;
    pub(crate) mod world;
}
