//! The live view of `weir demo` as text: a picture of the moment, or one line of it.

use std::{fmt, time::Duration};

use super::tally::percent;

const BAR_MIN: usize = 8;
const BAR_MAX: usize = 40;

/// Whether a backend takes flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Up,
    /// It keeps those it has.
    Draining,
    /// It does not answer.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        })
    }
}

/// One backend at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// Its speed beside the fastest one's 1.
    pub speed: f64,
    /// Flows it has.
    pub flows: u64,
    /// Requests it answered since the last picture.
    pub requests: u64,
    /// Requests per second since the last picture.
    pub rate: f64,
    /// Whether it takes flows.
    pub state: State,
}

/// Everything the view shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Time since the beginning.
    pub elapsed: Duration,
    /// Time the demo takes.
    pub total: Duration,
    /// The backends.
    pub backends: Vec<Row>,
    /// Answers per second since the last picture.
    pub rate: f64,
    /// Median latency since the last picture.
    pub p50: Duration,
    /// 99 % of the answers since the last picture were not slower.
    pub p99: Duration,
    /// Failed requests since the beginning.
    pub failed: u64,
    /// Answers over IPv4 since the beginning.
    pub ipv4: u64,
    /// Answers over IPv6 since the beginning.
    pub ipv6: u64,
}

/// Whether text has colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours.
    Ansi,
    /// Text only.
    Plain,
}

/// The picture, no line wider than `width` columns.
#[must_use]
pub fn render(frame: &Frame, width: usize, colour: Colour) -> String {
    let columns = Columns::fit(frame, width);
    let mut page = Page { text: String::new(), width, left: width, colour };
    page.put(Ink::Bold, "weir demo");
    page.put(Ink::None, &format!("  {} of {} s", frame.elapsed.as_secs(), frame.total.as_secs()));
    page.end_line();
    page.end_line();
    page.put(Ink::Dim, &columns.heading());
    page.end_line();
    let sum = frame.backends.iter().map(|row| row.requests).sum();
    for row in &frame.backends {
        columns.row(&mut page, row, sum);
    }
    page.end_line();
    page.put(Ink::Bold, &format!("{:.0} req/s", frame.rate));
    page.put(Ink::None, &format!("   p50 {}   p99 {}   ", ms(frame.p50), ms(frame.p99)));
    let ink = if frame.failed == 0 { Ink::Green } else { Ink::Red };
    page.put(ink, &format!("{} failed", frame.failed));
    let all = frame.ipv4 + frame.ipv6;
    let (v4, v6) = (percent(frame.ipv4, all), percent(frame.ipv6, all));
    page.put(Ink::None, &format!("   IPv4 {v4:.0} %   IPv6 {v6:.0} %"));
    page.end_line();
    page.text
}

/// The picture in one line, for logs and pipes.
#[must_use]
pub fn render_line(frame: &Frame) -> String {
    let shares: Vec<String> = frame
        .backends
        .iter()
        .map(|row| format!("{} {:.0}/s {}", row.name, row.rate, row.state))
        .collect();
    format!(
        "{:>3} s  {:.0} req/s  p50 {}  p99 {}  failed {}  IPv4 {}  IPv6 {}  | {}",
        frame.elapsed.as_secs(),
        frame.rate,
        ms(frame.p50),
        ms(frame.p99),
        frame.failed,
        frame.ipv4,
        frame.ipv6,
        shares.join("  "),
    )
}

/// Milliseconds to three digits, as far as they mean something.
pub(super) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// Widths of the columns that depend on what is in them.
struct Columns {
    name: usize,
    address: usize,
    bar: usize,
}

impl Columns {
    fn fit(frame: &Frame, width: usize) -> Self {
        let widest = |heading: &str, cell: fn(&Row) -> &str| {
            let cells = frame.backends.iter().map(|row| cell(row).chars().count());
            cells.max().unwrap_or(0).max(heading.len())
        };
        let (name, address) =
            (widest("BACKEND", |row| &row.name), widest("ADDRESS", |row| &row.address));
        let fixed = name + address + "  ".len() * 6 + 5 + 6 + 8 + 5 + "draining".len();
        Self { name, address, bar: width.saturating_sub(fixed).clamp(BAR_MIN, BAR_MAX) }
    }

    fn heading(&self) -> String {
        format!(
            "{:<name$}  {:<address$}  {:>5}  {:>6}  {:>8}  {:<bar$}  STATE",
            "BACKEND",
            "ADDRESS",
            "SPEED",
            "FLOWS",
            "REQ/S",
            "SHARE",
            name = self.name,
            address = self.address,
            bar = self.bar + 5,
        )
    }

    fn row(&self, page: &mut Page, row: &Row, sum: u64) {
        let share = percent(row.requests, sum);
        let numbers = format!(
            "{:<name$}  {:<address$}  {:>5.2}  {:>6}  {:>8.0}  ",
            row.name,
            row.address,
            row.speed,
            row.flows,
            row.rate,
            name = self.name,
            address = self.address,
        );
        page.put(Ink::None, &numbers);
        let full = self.full(row.requests, sum);
        page.put(Ink::Cyan, &"█".repeat(full));
        page.put(Ink::Dim, &"░".repeat(self.bar - full));
        page.put(Ink::None, &format!("{share:>3.0} %  "));
        let ink = match row.state {
            State::Up => Ink::Green,
            State::Draining => Ink::Yellow,
            State::Down => Ink::Red,
        };
        page.put(ink, &row.state.to_string());
        page.end_line();
    }

    /// Cells of the bar that are full, rounded.
    fn full(&self, part: u64, sum: u64) -> usize {
        let bar = u128::from(u64::try_from(self.bar).unwrap_or(0));
        let (part, sum) = (u128::from(part), u128::from(sum.max(1)));
        usize::try_from((part * bar * 2 + sum) / (sum * 2)).unwrap_or(0).min(self.bar)
    }
}

#[derive(Clone, Copy)]
enum Ink {
    None,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[31m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Cyan => "\x1b[36m",
        }
    }
}

/// Text under construction; what does not fit into a line is cut off, because a wrapped line would
/// spoil redrawing in place.
struct Page {
    text: String,
    width: usize,
    left: usize,
    colour: Colour,
}

impl Page {
    fn put(&mut self, ink: Ink, text: &str) {
        // Names come from outside: a control character would move the cursor.
        let visible = text.chars().filter(|c| !c.is_control());
        let text: String = visible.take(self.left).collect();
        if text.is_empty() {
            return;
        }
        self.left -= text.chars().count();
        let code = match self.colour {
            Colour::Ansi => ink.code(),
            Colour::Plain => "",
        };
        self.text.push_str(code);
        self.text.push_str(&text);
        if !code.is_empty() {
            self.text.push_str("\x1b[0m");
        }
    }

    fn end_line(&mut self) {
        // Blanks at the end are of no use to anybody.
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
        self.left = self.width;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn row(name: &str, speed: f64, requests: u64, state: State) -> Row {
        let rate = f64::from(u32::try_from(requests).unwrap());
        let address = format!("198.18.10.{}:8080", name.len());
        Row { name: name.to_owned(), address, speed, flows: 12, requests, rate, state }
    }

    pub(in crate::demo) fn frame() -> Frame {
        Frame {
            elapsed: Duration::from_millis(7_300),
            total: Duration::from_secs(30),
            backends: vec![
                row("fast", 1.0, 400, State::Up),
                row("middle", 0.5, 200, State::Draining),
                row("slow", 0.25, 0, State::Down),
            ],
            rate: 600.0,
            p50: Duration::from_micros(2_340),
            p99: Duration::from_micros(17_800),
            failed: 0,
            ipv4: 2_100,
            ipv6: 2_100,
        }
    }

    #[test]
    fn a_wide_terminal() {
        insta::assert_snapshot!(render(&frame(), 100, Colour::Plain));
    }

    #[test]
    fn a_narrow_terminal() {
        insta::assert_snapshot!(render(&frame(), 60, Colour::Plain));
    }

    #[test]
    fn nothing_yet() {
        let frame = Frame { backends: Vec::new(), rate: 0.0, ipv4: 0, ipv6: 0, ..frame() };
        insta::assert_snapshot!(render(&frame, 80, Colour::Plain));
    }

    #[test]
    fn one_line() {
        insta::assert_snapshot!(render_line(&frame()));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = render(&frame(), 100, Colour::Ansi);
        let mut stripped = coloured.clone();
        for code in
            ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"]
        {
            assert!(coloured.contains(code), "{code:?}");
            stripped = stripped.replace(code, "");
        }
        assert_eq!(stripped, render(&frame(), 100, Colour::Plain));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..120 {
            let text = render(&frame(), width, Colour::Plain);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        let mut frame = frame();
        frame.backends[0].name = "a\x1b[2J\nb".to_owned();
        let text = render(&frame, 100, Colour::Plain);
        assert!(!text.contains('\x1b'), "{text:?}");
        assert_eq!(text.lines().count(), 8);
    }
}
