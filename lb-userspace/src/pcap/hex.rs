//! Frames as text: one a line, in hex digits; blanks are free, `#` begins a comment.

use std::io::{BufRead, Read as _};

use super::{FRAME_BYTES_MAX, Frame, FrameError, Place};

/// Longest line that is read; the longest frame fits with a blank between its digits.
const LINE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// The frames of a text; ends after the first error.
pub struct HexLines<R> {
    input: R,
    line: u64,
    number: u64,
    broken: bool,
}

/// Reads frames from text.
pub const fn read_hex<R: BufRead>(input: R) -> HexLines<R> {
    HexLines { input, line: 0, number: 0, broken: false }
}

impl<R: BufRead> Iterator for HexLines<R> {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let frame = self.next_frame().transpose();
        self.broken = !matches!(frame, Some(Ok(_)));
        frame
    }
}

impl<R: BufRead> HexLines<R> {
    fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let mut text = Vec::new();
            self.line += 1;
            let place = Place::Line(self.line);
            let length = (&mut self.input)
                .take(LINE_BYTES_MAX as u64)
                .read_until(b'\n', &mut text)
                .map_err(|source| FrameError::Read { place, source })?;
            if length == 0 {
                return Ok(None);
            }
            if length == LINE_BYTES_MAX {
                return Err(FrameError::TooLong { place, length });
            }
            let bytes = parse_line(self.line, &String::from_utf8_lossy(&text))?;
            if !bytes.is_empty() {
                self.number += 1;
                return Frame::checked(place, self.number, bytes).map(Some);
            }
        }
    }
}

fn parse_line(line: u64, text: &str) -> Result<Vec<u8>, FrameError> {
    let mut digits = Vec::new();
    for (index, found) in text.chars().enumerate() {
        match found.to_digit(16).and_then(|digit| u8::try_from(digit).ok()) {
            Some(digit) => digits.push(digit),
            None if found == '#' => break,
            None if found.is_whitespace() => {}
            None => return Err(FrameError::NotHex { line, column: index + 1, found }),
        }
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    } else {
        Err(FrameError::HalfByte { line, digits: digits.len() })
    }
}

/// Bytes as hex digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "0242c6120a02 024200000001 0800";

    fn read(text: &[u8]) -> Vec<Result<Frame, String>> {
        read_hex(text).map(|frame| frame.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn frames_are_read_between_comments_and_blanks() {
        let text =
            format!("# two frames\n\n{HEADER}4500 # cut\r\n   \n\t{}", HEADER.to_uppercase());
        let header = b"\x02\x42\xc6\x12\x0a\x02\x02\x42\0\0\0\x01\x08\0";
        let frames: Vec<Frame> = read(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(frames[0], Frame { number: 1, bytes: [&header[..], b"\x45\0"].concat() });
        assert_eq!(frames[1], Frame { number: 2, bytes: header.to_vec() });
        assert_eq!(frames.len(), 2);
        assert_eq!(to_hex(header), HEADER.replace(' ', ""));
    }

    #[test]
    fn text_without_frames_has_none() {
        for text in ["", "\n", "# nothing", "  \n\r\n#\n"] {
            assert_eq!(read(text.as_bytes()), [], "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let longest = "00".repeat(FRAME_BYTES_MAX);
        assert_eq!(read(longest.as_bytes())[0].as_ref().unwrap().bytes.len(), FRAME_BYTES_MAX);
        for (text, expected) in [
            ("\n\n0x02".to_owned(), "line 3, column 2: 'x' is not a hex digit"),
            ("02:42".to_owned(), "line 1, column 3: ':' is not a hex digit"),
            ("0242 é".to_owned(), "line 1, column 6: 'é' is not a hex digit"),
            (format!("{HEADER}0"), "line 1: 29 hex digits are not whole bytes"),
            ("#\n0242".to_owned(), "line 2: 2 bytes are less than an Ethernet header has (14)"),
            (
                longest.clone() + "00",
                "line 1: 65536 bytes are more than the longest frame has (65535)",
            ),
            (
                "0".repeat(LINE_BYTES_MAX + 1),
                "line 1: 262140 bytes are more than the longest frame has (65535)",
            ),
        ] {
            let text = text + "\n" + HEADER;
            assert_eq!(read(text.as_bytes()), [Err(expected.to_owned())]);
        }
        let error = read(b"\xff\xfe")[0].clone().unwrap_err();
        assert_eq!(error, "line 1, column 1: '\u{fffd}' is not a hex digit");
    }
}
