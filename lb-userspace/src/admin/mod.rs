//! The daemon's doors: a unix socket for the command line, HTTP for metrics and probes. Both put
//! their questions to the daemon's loop over one channel and know nothing of its state.

mod claim;
pub mod client;
pub mod http;
pub mod names;
pub mod protocol;
pub mod report;
pub mod socket;

pub use protocol::{Data, Question, Request, Response};
