//! Mistakes for people: the line, a caret under what is wrong, the rule, a hint.

use std::fmt::Write as _;

use super::error::Diagnostic;

/// Mistakes that are written out; a text with more of them is not a configuration.
const WRITTEN_MAX: usize = 200;
/// Characters of a line that are shown.
const WINDOW: usize = 100;
/// Characters shown before the mistake where a line is cut.
const LEAD: usize = 40;

const ERROR: &str = "\x1b[1;31m";
const FRAME: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// The whole report.
pub(super) fn report(name: &str, source: &str, list: &[Diagnostic], color: bool) -> String {
    let name = printable(name);
    let lines: Vec<&str> = source.trim_start_matches('\u{feff}').lines().collect();
    let mut text = String::new();
    for found in list.iter().take(WRITTEN_MAX) {
        let line = usize::try_from(found.line).unwrap_or(usize::MAX);
        let shown = lines.get(line.wrapping_sub(1)).copied().unwrap_or_default();
        text.push_str(&block(&name, shown, found, color));
        text.push('\n');
    }
    let more = list.len().saturating_sub(WRITTEN_MAX);
    let more = if more == 0 { String::new() } else { format!("; {more} of them not shown") };
    let errors = if list.len() == 1 { "error" } else { "errors" };
    let sum = format!("{} {errors} in {name}{more}", list.len());
    text.push_str(&paint(&sum, BOLD, color));
    text.push('\n');
    text
}

fn block(name: &str, line: &str, found: &Diagnostic, color: bool) -> String {
    let Diagnostic { line: number, column, width, message, hint } = found;
    let (shown, indent, length) = window(line, *column, *width);
    let gutter = " ".repeat(number.to_string().len());
    let frame = |text: &str| paint(text, FRAME, color);
    let mut rows = vec![
        format!("{}{}", paint("error", ERROR, color), paint(&format!(": {message}"), BOLD, color)),
        format!("{gutter}{} {name}:{number}:{column}", frame("-->")),
        format!("{gutter} {}", frame("|")),
        format!("{} {}", frame(&format!("{number} |")), shown),
    ];
    let caret = paint(&"^".repeat(length), ERROR, color);
    rows.push(format!("{gutter} {} {}{caret}", frame("|"), " ".repeat(indent)));
    if let Some(hint) = hint {
        rows.push(format!("{gutter} {} {hint}", frame("= help:")));
    }
    rows.iter().fold(String::new(), |mut text, row| {
        // Writing to a String cannot fail.
        writeln!(text, "{}", row.trim_end()).ok();
        text
    })
}

/// The part of a line around a mistake, the caret's place under it and the caret's length.
fn window(line: &str, column: u32, width: u32) -> (String, usize, usize) {
    let to_usize = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let at = to_usize(column).saturating_sub(1);
    let is_long = line.chars().nth(WINDOW).is_some();
    let cut = if is_long { at.saturating_sub(LEAD) } else { 0 };
    let mut rest = line.chars().skip(cut);
    let middle: String = rest.by_ref().take(WINDOW).collect();
    let middle = printable(&middle);
    let indent = (at - cut).min(middle.chars().count());
    let room = middle.chars().count() - indent;
    let shown = match (cut > 0, rest.next().is_some()) {
        (false, false) => middle,
        (true, false) => format!("…{middle}"),
        (false, true) => format!("{middle}…"),
        (true, true) => format!("…{middle}…"),
    };
    (shown, indent + usize::from(cut > 0), to_usize(width).min(room).max(1))
}

/// The text without anything that moves the cursor, character for character.
fn printable(text: &str) -> String {
    let visible = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || is_direction(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(visible).collect()
}

/// Characters that turn the direction of the text around them.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn paint(text: &str, code: &str, color: bool) -> String {
    if color { format!("{code}{text}{RESET}") } else { text.to_owned() }
}
