//! Where the live view goes: redrawn in place on a terminal, one line a second elsewhere.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
};

use super::view::{Colour, Frame, render, render_line};
use crate::cli::terminal::width;

/// What a terminal is taken to have that does not tell its width.
const WIDTH_DEFAULT: usize = 80;

/// Where pictures go.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    /// Width and colour of a terminal; none if it is no terminal.
    terminal: Option<(usize, Colour)>,
    lines_drawn: usize,
}

impl Screen<io::Stdout> {
    /// The standard output. Colour is for terminals only, and not if `NO_COLOR` is set
    /// (no-color.org).
    #[must_use]
    pub fn stdout() -> Self {
        let out = io::stdout();
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = if plain { Colour::Plain } else { Colour::Ansi };
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        let terminal =
            (out.is_terminal() && !dumb).then(|| (width(&out).unwrap_or(WIDTH_DEFAULT), colour));
        Self::new(out, terminal)
    }
}

impl<W: Write> Screen<W> {
    /// A screen on any output: a terminal of this width, or none.
    pub const fn new(out: W, terminal: Option<(usize, Colour)>) -> Self {
        Self { out, terminal, lines_drawn: 0 }
    }

    /// Shows a picture: in place of the last one on a terminal, as one more line elsewhere.
    pub fn show(&mut self, frame: &Frame) -> io::Result<()> {
        match self.terminal {
            Some((width, colour)) => {
                let text = render(frame, width, colour);
                if self.lines_drawn > 0 {
                    // Up to the first line of the last picture, and clear from there.
                    write!(self.out, "\x1b[{}A\r\x1b[J", self.lines_drawn)?;
                }
                self.lines_drawn = text.lines().count();
                self.out.write_all(text.as_bytes())?;
            }
            None => writeln!(self.out, "{}", render_line(frame))?,
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::view::tests::frame;

    #[test]
    fn a_terminal_is_drawn_in_place_and_a_pipe_is_not() {
        let mut screen = Screen::new(Vec::new(), Some((80, Colour::Plain)));
        screen.show(&frame()).unwrap();
        screen.show(&frame()).unwrap();
        let text = String::from_utf8(screen.out).unwrap();
        assert_eq!(text.matches("\x1b[8A\r\x1b[J").count(), 1);

        let mut pipe = Screen::new(Vec::new(), None);
        pipe.show(&frame()).unwrap();
        pipe.show(&frame()).unwrap();
        let text = String::from_utf8(pipe.out).unwrap();
        assert_eq!((text.lines().count(), text.contains('\x1b')), (2, false));
    }
}
