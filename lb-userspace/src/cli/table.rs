//! Tables for people: aligned columns, colour for what matters, no frame.

const RESET: &str = "\x1b[0m";
const GAP: &str = "  ";

/// What a cell's colour says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Somebody should know.
    Warning,
    /// Somebody should act.
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }

    /// The text in this colour.
    #[must_use]
    pub fn paint(self, text: &str, colour: bool) -> String {
        match (colour, self) {
            (false, _) | (true, Self::Plain) => text.to_owned(),
            (true, Self::Good | Self::Warning | Self::Bad) => {
                format!("{}{text}{RESET}", self.code())
            }
        }
    }
}

/// Which side of its column a cell leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A cell: text without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a colour.
    #[must_use]
    pub fn toned(text: &str, tone: Tone) -> Self {
        Self { text: printable(text), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Names come from outside; one must not move the cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Rows under a head.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
    elastic: Vec<(&'static str, usize)>,
    spare: Vec<&'static str>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        let columns = columns.to_vec();
        Self { columns, rows: Vec::new(), elastic: Vec::new(), spare: Vec::new() }
    }

    /// Columns that may be cut to a width where there is little room.
    #[must_use]
    pub fn elastic(mut self, columns: &[(&'static str, usize)]) -> Self {
        self.elastic = columns.to_vec();
        self
    }

    /// Columns that are left out where there is less room still, the first one first.
    #[must_use]
    pub fn spare(mut self, columns: &[&'static str]) -> Self {
        self.spare = columns.to_vec();
        self
    }

    /// Adds a row. Cells that are not there are empty; cells beyond the columns are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, without blanks at their ends.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        self.lines(&self.widths(), colour)
    }

    /// The table in a terminal of this width: what matters less is cut or left out, and said. What
    /// does not fit even then is wrapped by the terminal.
    #[must_use]
    pub fn render_within(&self, room: usize, colour: bool) -> String {
        let mut widths = self.widths();
        let mut hidden = Vec::new();
        let mut spare = self.spare.iter();
        while self.least(&widths) > room
            && let Some(name) = spare.next()
        {
            if let Some(index) = self.index(name) {
                widths[index] = None;
                hidden.push(*name);
            }
        }
        self.squeeze(&mut widths, room);
        let mut text = self.lines(&widths, colour);
        if !hidden.is_empty() {
            let note = format!("not shown in {room} columns: {}\n", hidden.join(", "));
            text.push_str(&note);
        }
        text
    }

    /// What every column needs; none for one that is left out.
    fn widths(&self) -> Vec<Option<usize>> {
        (0..self.columns.len()).map(|index| Some(self.width(index))).collect()
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(column, _)| *column == name)
    }

    /// The width with all elastic columns cut.
    fn least(&self, widths: &[Option<usize>]) -> usize {
        let mut cut = widths.to_vec();
        self.squeeze(&mut cut, 0);
        total(&cut)
    }

    /// Takes from the elastic columns, the widest first, until the table fits or no more is to be
    /// had.
    fn squeeze(&self, widths: &mut [Option<usize>], room: usize) {
        let elastic = self.elastic.iter().filter_map(|(name, least)| {
            let index = self.index(name)?;
            let head = self.columns.get(index).map_or(0, |(name, _)| name.len());
            Some((index, (*least).max(head)))
        });
        let elastic: Vec<_> = elastic.collect();
        while total(widths) > room {
            let can = elastic.iter().filter(|(index, least)| widths[*index] > Some(*least));
            let Some((widest, _)) = can.max_by_key(|(index, _)| widths[*index]) else { return };
            widths[*widest] = widths[*widest].map(|width| width - 1);
        }
    }

    fn lines(&self, widths: &[Option<usize>], colour: bool) -> String {
        let bold = |text: &str| if colour { format!("\x1b[1m{text}{RESET}") } else { text.into() };
        let mut text = String::new();
        let head = self.columns.iter().map(|&(name, _)| (name.to_owned(), bold(name)));
        self.line(&mut text, widths, head);
        for row in &self.rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| {
                let shown = cut(&cell.text, width.unwrap_or(0));
                let painted = cell.tone.paint(&shown, colour);
                (shown, painted)
            });
            self.line(&mut text, widths, cells);
        }
        text
    }

    fn width(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let head = self.columns.get(index).map_or(0, |&(name, _)| name.len());
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0).max(head)
    }

    /// Appends a line of cells, each as it is measured and as it is printed.
    fn line(
        &self,
        text: &mut String,
        widths: &[Option<usize>],
        cells: impl Iterator<Item = (String, String)>,
    ) {
        let mut blanks = 0;
        for ((&(_, align), width), (measured, printed)) in
            self.columns.iter().zip(widths).zip(cells)
        {
            let Some(width) = width else { continue };
            let padding = width.saturating_sub(measured.chars().count());
            let (before, after) = match align {
                Align::Left => (0, padding),
                Align::Right => (padding, 0),
            };
            blanks += before;
            if !measured.is_empty() {
                text.extend(std::iter::repeat_n(' ', blanks));
                text.push_str(&printed);
                blanks = 0;
            }
            blanks += after + GAP.len();
        }
        text.push('\n');
    }
}

/// The width of a line with columns of these widths.
fn total(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    let gaps = shown.clone().count().saturating_sub(1) * GAP.len();
    shown.sum::<usize>() + gaps
}

/// As much of a text as fits, with an ellipsis for the rest.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain("…".chars()).collect()
}

/// Lines of a name and a value: a table without a head.
#[must_use]
pub fn facts(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:width$}{GAP}{value}");
    lines.iter().map(line).flat_map(|line| [line, "\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[
            ("BACKEND", Align::Left),
            ("FLOWS", Align::Right),
            ("STATE", Align::Left),
        ]);
        table.row(["198.18.10.2:8080".into(), "1.2k".into(), Cell::toned("up", Tone::Good)]);
        table.row(["é:1".into(), "".into(), Cell::toned("down", Tone::Bad)]);
        table.row(["[fd00::2]:80".into(), "7".into()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        insta::assert_snapshot!(sample().render(false), @r"
        BACKEND           FLOWS  STATE
        198.18.10.2:8080   1.2k  up
        é:1                      down
        [fd00::2]:80          7
        ");
    }

    #[test]
    fn colour_does_not_move_columns() {
        let coloured = sample().render(true);
        assert!(coloured.contains("\x1b[32mup\x1b[0m"), "{coloured:?}");
        let bare = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, sample().render(false));
    }

    #[test]
    fn no_line_ends_with_a_blank() {
        let text = sample().render(false);
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        let table = Table::new(&[("A", Align::Left), ("B", Align::Right)]);
        assert!(table.is_empty());
        assert_eq!(table.render(false), "A  B\n");
        assert_eq!(Table::new(&[]).render(true), "\n");
    }

    #[test]
    fn cells_cannot_move_the_cursor() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.row(["x\x1b[2J\r\ny\u{9b}".into(), "beyond".into()]);
        assert_eq!(table.render(false), "A\nx\u{fffd}[2J\u{fffd}\u{fffd}y\u{fffd}\n");
    }

    #[test]
    fn what_matters_less_goes_first_where_there_is_little_room() {
        let mut table = Table::new(&[
            ("BACKEND", Align::Left),
            ("HEALTH", Align::Left),
            ("FLOWS", Align::Right),
            ("WHY", Align::Left),
        ]);
        table = table.elastic(&[("HEALTH", 6), ("WHY", 4)]).spare(&["WHY", "FLOWS", "BACKEND"]);
        table.row(["1.2.3.4:80", "connection refused", "7", "no neighbour"].map(Cell::from));
        let rows = [
            (
                51,
                "BACKEND     HEALTH              FLOWS  WHY\n\
                  1.2.3.4:80  connection refused      7  no neighbour\n",
            ),
            (
                45,
                "BACKEND     HEALTH        FLOWS  WHY\n\
                  1.2.3.4:80  connection …      7  no neighbour\n",
            ),
            (
                31,
                "BACKEND     HEALTH  FLOWS  WHY\n\
                  1.2.3.4:80  conne…      7  no …\n",
            ),
            (
                30,
                "BACKEND     HEALTH       FLOWS\n\
                  1.2.3.4:80  connection…      7\n\
                  not shown in 30 columns: WHY\n",
            ),
            (
                20,
                "BACKEND     HEALTH\n\
                  1.2.3.4:80  connect…\n\
                  not shown in 20 columns: WHY, FLOWS\n",
            ),
            (3, "HEALTH\nconne…\nnot shown in 3 columns: WHY, FLOWS, BACKEND\n"),
        ];
        for (room, text) in rows {
            assert_eq!(table.render_within(room, false), text, "{room}");
        }
        assert_eq!(table.render_within(52, true), table.render(true));
    }

    #[test]
    fn facts_are_aligned() {
        let text = facts(&[("pid", "7".to_owned()), ("uptime", "3m07s".to_owned())]);
        assert_eq!(text, "pid     7\nuptime  3m07s\n");
    }
}
