//! Where the commands print: tables for people, JSON for scripts, colour on a terminal only.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use super::{table::Table, terminal};

/// A place to print to, and whether a person looks at it.
pub struct Output<'a> {
    writer: Box<dyn Write + 'a>,
    colour: bool,
    terminal: bool,
    /// Of a terminal that tells.
    width: Option<usize>,
}

impl Output<'static> {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let stdout = io::stdout().lock();
        let terminal = stdout.is_terminal();
        // https://no-color.org: the variable counts when it is set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = terminal && !refused;
        let width = terminal::width(&stdout).filter(|_| terminal);
        Self { writer: Box::new(io::BufWriter::new(stdout)), colour, terminal, width }
    }
}

impl<'a> Output<'a> {
    /// Plain text.
    pub fn plain(writer: impl Write + 'a) -> Self {
        Self { writer: Box::new(writer), colour: false, terminal: false, width: None }
    }

    /// What a terminal gets.
    pub fn terminal(writer: impl Write + 'a) -> Self {
        Self { writer: Box::new(writer), colour: true, terminal: true, width: None }
    }

    /// Whether to colour.
    #[must_use]
    pub const fn colour(&self) -> bool {
        self.colour
    }

    /// A value, indented.
    pub fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.writer, value)?;
        self.writer.write_all(b"\n")
    }

    /// A table, as wide as the terminal at most; elsewhere all of it.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        let text = match self.width {
            Some(width) => table.render_within(width, self.colour),
            None => table.render(self.colour),
        };
        self.writer.write_all(text.as_bytes())
    }

    /// Room for the next picture: a clear terminal, elsewhere an empty line between two.
    pub fn next_page(&mut self, first: bool) -> io::Result<()> {
        match (self.terminal, first) {
            (true, _) => self.writer.write_all(b"\x1b[H\x1b[2J"),
            (false, true) => Ok(()),
            (false, false) => self.writer.write_all(b"\n"),
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Whether an error only says that the reader has seen enough: `weir flows | head`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json =
            cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_recognised() {
        for error in [
            Output::plain(Closed).json(&[1]).unwrap_err(),
            writeln!(Output::plain(Closed), "x").unwrap_err(),
        ] {
            assert!(is_broken_pipe(&error.into()));
        }
        let wrapped = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("x");
        assert!(is_broken_pipe(&wrapped));
        assert!(!is_broken_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }

    #[test]
    fn only_a_terminal_is_cleared() {
        for (terminal, expected) in [(false, &b"\n"[..]), (true, b"\x1b[H\x1b[2J\x1b[H\x1b[2J")] {
            let mut bytes = Vec::new();
            let mut output =
                if terminal { Output::terminal(&mut bytes) } else { Output::plain(&mut bytes) };
            output.next_page(true).unwrap();
            output.next_page(false).unwrap();
            assert_eq!(output.colour(), terminal);
            drop(output);
            assert_eq!(bytes, expected);
        }
    }
}
