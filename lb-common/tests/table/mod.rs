//! The table of packets: what comes in, why it ends how it ends, and what goes out.
//!
//! The same rows run on the host's tables (`lb-common/tests/packets.rs`) and, in the kernel,
//! through the XDP and the TC program (`lb-userspace/tests/kernel.rs`). Packets that are expected
//! to go out are built anew by `etherparse`, checksums included; nothing of the code under test
//! is used for them.
#![allow(
    dead_code,
    clippy::default_trait_access,
    missing_docs,
    unreachable_pub,
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::panic,
    clippy::wrong_self_convention,
    clippy::cast_possible_truncation,
    clippy::field_reassign_with_default,
    clippy::indexing_slicing,
    reason = "a module of two test programs, each of which uses its part; tables are long and plain"
)]

pub mod corners;
pub mod direct;
pub mod frame;
pub mod full_nat;
pub mod guards;
pub mod lives;
pub mod nobody;
pub mod pieces;
pub mod rows;
pub mod translated;
pub mod tunnels;
pub mod turns;
pub mod world;

use lb_common::pipeline::verdict::{Action, Reason};

/// What is expected of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Why it ended.
    pub reason: Reason,
    /// What became of it.
    pub action: Action,
    /// The way out, 0 if none.
    pub ifindex: u32,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
}

/// One packet of the table. Rows run in order, and see the flows of the rows before.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it shows.
    pub description: &'static str,
    /// The frame as it arrives.
    pub input: Vec<u8>,
    /// What is expected.
    pub expected: Expected,
}

/// Compares what happened with what was expected, with the row's description in the message.
pub fn compare(executor: &str, row: &Row, actual: &Expected) {
    let at = format!("{executor}: {}", row.description);
    assert_eq!(actual.reason, row.expected.reason, "{at}");
    assert_eq!(actual.action, row.expected.action, "{at}");
    assert_eq!(actual.ifindex, row.expected.ifindex, "{at}");
    let (actual, expected) = (hex(&actual.bytes), hex(&row.expected.bytes));
    assert_eq!(actual, expected, "{at}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
