//! Frames in and out of `weir simulate`: pcap, pcapng or lines of hex in; pcap and JSON out.

mod capture;
mod hex;

use std::{fmt, io};

use pcap_file::{DataLink, PcapError};
use serde::{Deserialize, Serialize};

pub use capture::{Capture, CaptureWriter, read_capture};
pub use hex::{HexLines, read_hex, to_hex};

/// Longest frame that is read, in bytes.
pub const FRAME_BYTES_MAX: usize = 65_535;
/// Shortest frame: an Ethernet header. The kernel runs no program on less.
pub const FRAME_BYTES_MIN: usize = 14;

/// An Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number in the input, from 1.
    pub number: u64,
    /// Its bytes from the destination MAC on.
    pub bytes: Vec<u8>,
}

impl Frame {
    fn checked(place: Place, number: u64, bytes: Vec<u8>) -> Result<Self, FrameError> {
        let length = bytes.len();
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { place, length });
        }
        if length < FRAME_BYTES_MIN {
            return Err(FrameError::TooShort { place, length });
        }
        Ok(Self { number, bytes })
    }
}

/// What became of a frame: one line of `weir simulate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationLine {
    /// Number of the frame in the input, from 1.
    pub n: u64,
    /// `pass`, `drop`, `redirect` or `tx`.
    pub action: String,
    /// Name of the pipeline's reason.
    pub reason: String,
    /// Service; `null` if none was found.
    pub service: Option<String>,
    /// Backend; `null` if none was chosen.
    pub backend: Option<String>,
    /// The frame as it leaves, in hex; absent when it is dropped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub out: Option<String>,
}

/// Where in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Packet of a capture, from 1.
    Packet(u64),
    /// Line of text, from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(number) => write!(f, "packet {number}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// What is wrong with the input.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Neither pcap nor pcapng.
    #[error("this is neither a pcap nor a pcapng file")]
    NotACapture,
    /// A capture of something else than Ethernet.
    #[error("packet {number}: its link type is {link:?}, only Ethernet is read")]
    LinkType {
        /// Packet, from 1.
        number: u64,
        /// What it is.
        link: DataLink,
    },
    /// A packet that the capture did not keep whole.
    #[error("packet {number}: only {kept} of its {length} bytes were captured: capture with -s 0")]
    CutShort {
        /// Packet, from 1.
        number: u64,
        /// Bytes in the file.
        kept: usize,
        /// Bytes on the wire.
        length: usize,
    },
    /// The file's structure is broken.
    #[error("packet {number}: the file is broken: {}", innermost(.source))]
    Broken {
        /// Packet, from 1.
        number: u64,
        /// What the parser said.
        source: PcapError,
    },
    /// A line of something else than hex digits.
    #[error("line {line}, column {column}: '{found}' is not a hex digit")]
    NotHex {
        /// Line, from 1.
        line: u64,
        /// Character, from 1.
        column: usize,
        /// What stands there.
        found: char,
    },
    /// A byte with one digit.
    #[error("line {line}: {digits} hex digits are not whole bytes")]
    HalfByte {
        /// Line, from 1.
        line: u64,
        /// Its digits.
        digits: usize,
    },
    /// Longer than any frame.
    #[error("{place}: {length} bytes are more than the longest frame has ({FRAME_BYTES_MAX})")]
    TooLong {
        /// Packet or line.
        place: Place,
        /// Its bytes.
        length: usize,
    },
    /// Shorter than any frame.
    #[error("{place}: {length} bytes are less than an Ethernet header has ({FRAME_BYTES_MIN})")]
    TooShort {
        /// Packet or line.
        place: Place,
        /// Its bytes.
        length: usize,
    },
    /// The input cannot be read.
    #[error("{place}: {source}")]
    Read {
        /// Packet or line.
        place: Place,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The parser hides the cause of an I/O error behind words of its own.
fn innermost(error: &PcapError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulation_lines_are_the_documented_ones() {
        let forwarded = SimulationLine {
            n: 1,
            action: "redirect".into(),
            reason: "forwarded".into(),
            service: Some("web".into()),
            backend: Some("198.18.10.2:8080".into()),
            out: Some("0242".into()),
        };
        let dropped = SimulationLine {
            n: 2,
            action: "drop".into(),
            reason: "no-backend".into(),
            backend: None,
            out: None,
            ..forwarded.clone()
        };
        for (line, text) in [
            (
                forwarded,
                r#"{"n":1,"action":"redirect","reason":"forwarded","service":"web","backend":"198.18.10.2:8080","out":"0242"}"#,
            ),
            (
                dropped,
                r#"{"n":2,"action":"drop","reason":"no-backend","service":"web","backend":null}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<SimulationLine>(text).unwrap(), line);
        }
    }
}
