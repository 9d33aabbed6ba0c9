//! Rows of named cells, from CSV or from JSON. Cells are text in both: a number of JSON is as it
//! was written, a list is `a;b`, an object `key=value;key=value`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{InputMistake, Source};

/// A column of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    needed: bool,
}

impl Column {
    pub(super) const fn needed(name: &'static str) -> Self {
        Self { name, needed: true }
    }

    pub(super) const fn optional(name: &'static str) -> Self {
        Self { name, needed: false }
    }
}

/// A row: its line, and by column the line and the text of each cell that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) cells: BTreeMap<String, (u64, String)>,
}

impl Record {
    /// Where a cell is; the row if there is no such cell.
    pub(super) fn line_of(&self, column: &str) -> u64 {
        self.cells.get(column).map_or(self.line, |(line, _)| *line)
    }
}

/// Reads what begins with `[` or `{` as JSON, anything else as CSV.
pub(super) fn read(
    source: Source<'_>,
    columns: &[Column],
    mistakes: &mut Vec<InputMistake>,
) -> Vec<Record> {
    // Spreadsheets begin files with a byte order mark.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    let mut report = |line: Option<u64>, column: Option<&str>, message: String| {
        let (file, column) = (source.name.to_owned(), column.map(str::to_owned));
        mistakes.push(InputMistake { file, line, column, message });
    };
    if text.trim_start().starts_with(['[', '{']) {
        from_json(text, columns, &mut report)
    } else {
        from_csv(text, columns, &mut report)
    }
}

type Report<'r> = &'r mut dyn FnMut(Option<u64>, Option<&str>, String);

fn from_csv(text: &str, columns: &[Column], report: Report<'_>) -> Vec<Record> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .flexible(true)
        .from_reader(text.as_bytes());
    let heads: Vec<String> = match reader.headers() {
        Ok(heads) => heads.iter().map(str::to_owned).collect(),
        Err(error) => {
            report(Some(1), None, error.to_string());
            return Vec::new();
        }
    };
    if heads.iter().all(String::is_empty) {
        report(None, None, format!("the file is empty: begin it with {}", names(columns)));
        return Vec::new();
    }
    let head = reader.headers().ok().and_then(csv::StringRecord::position);
    let head_line = head.map(|position| first_line(text, position));
    if !heads_are_right(&heads, head_line, columns, report) {
        return Vec::new();
    }
    let mut records = Vec::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let line = error.position().map(csv::Position::line);
                report(line, None, error.to_string());
                continue;
            }
        };
        let line = row.position().map_or(0, |position| first_line(text, position));
        if row.len() != heads.len() {
            let (has, should) = (row.len(), heads.len());
            report(Some(line), None, format!("{has} cells, but the head has {should} columns"));
        }
        let filled = heads.iter().zip(&row).filter(|(_, text)| !text.is_empty());
        let cells = filled.map(|(head, text)| (head.clone(), (line, text.to_owned()))).collect();
        records.push(Record { line, cells });
    }
    records
}

/// The line of a row. The reader's position is where it began to look for it, before any comment
/// and empty line.
fn first_line(text: &str, position: &csv::Position) -> u64 {
    let begin = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(begin..).unwrap_or_default();
    let skipped = rest.lines().take_while(|line| line.is_empty() || line.starts_with('#'));
    position.line() + skipped.count() as u64
}

fn heads_are_right(
    heads: &[String],
    line: Option<u64>,
    columns: &[Column],
    report: Report<'_>,
) -> bool {
    let mut right = true;
    let mut wrong = |column: Option<&str>, message: String| {
        report(line, column, message);
        right = false;
    };
    for (index, head) in heads.iter().enumerate() {
        if heads[..index].contains(head) {
            wrong(Some(head), "this column is here twice".to_owned());
        } else if let Some(message) = unknown(head, columns) {
            wrong(Some(head), message);
        }
    }
    for missing in columns.iter().filter(|it| it.needed && !heads.iter().any(|h| h == it.name)) {
        wrong(Some(missing.name), "this column is missing".to_owned());
    }
    right
}

/// What to say about a name that no column has.
fn unknown(name: &str, columns: &[Column]) -> Option<String> {
    if columns.iter().any(|column| column.name == name) {
        return None;
    }
    let distance = |column: &&Column| strsim::osa_distance(&name.to_lowercase(), column.name);
    let nearest = columns
        .iter()
        .min_by_key(distance)
        .filter(|column| distance(column) <= 2.min(name.len() / 2));
    let hint = nearest.map_or_else(
        || format!("the columns are {}", names(columns)),
        |column| format!("did you mean \"{}\"?", column.name),
    );
    Some(format!("there is no such column; {hint}"))
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",")
}

fn from_json(text: &str, columns: &[Column], report: Report<'_>) -> Vec<Record> {
    // Raw values are parts of the text, so where they begin tells their line.
    let line = |part: &str| {
        let before = (part.as_ptr().addr()).saturating_sub(text.as_ptr().addr());
        1 + text.bytes().take(before).filter(|byte| *byte == b'\n').count() as u64
    };
    let rows: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(rows) => rows,
        Err(error) if error.is_data() => {
            report(Some(1), None, "this is no list of objects: [{ ... }, ...]".to_owned());
            return Vec::new();
        }
        Err(error) => {
            report(Some(error.line() as u64), None, format!("this is no JSON: {error}"));
            return Vec::new();
        }
    };
    let mut records = Vec::new();
    for row in rows {
        let row_line = line(row.get());
        let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(row.get()) else {
            let found = shortened(row.get());
            report(Some(row_line), None, format!("{found} is no object"));
            continue;
        };
        let mut record = Record { line: row_line, cells: BTreeMap::new() };
        for (name, value) in &fields {
            let line = line(value.get());
            if let Some(message) = unknown(name, columns) {
                report(Some(line), Some(name), message);
                continue;
            }
            match cell(value) {
                Some(text) if text.is_empty() => {}
                Some(text) => drop(record.cells.insert(name.clone(), (line, text))),
                None => {
                    let found = shortened(value.get());
                    report(Some(line), Some(name), format!("{found} is no value of a cell"));
                }
            }
        }
        records.push(record);
    }
    records
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(CHARS_MAX).collect();
    if short.len() < line.len() { format!("{short}...") } else { short }
}

/// The text of a value; `null` is an empty cell.
fn cell(value: &RawValue) -> Option<String> {
    use serde_json::Value;
    let word = |value: &Value| value.as_str().map(str::to_owned);
    match serde_json::from_str(value.get()).ok()? {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(_) => Some(value.get().trim().to_owned()),
        Value::Array(values) => {
            values.iter().map(word).collect::<Option<Vec<_>>>().map(|words| words.join(";"))
        }
        Value::Object(pairs) => {
            let pair = |(key, value)| word(value).map(|value| format!("{key}={value}"));
            pairs.iter().map(pair).collect::<Option<Vec<_>>>().map(|pairs| pairs.join(";"))
        }
        Value::Bool(_) => None,
    }
}
