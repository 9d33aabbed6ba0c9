//! Cells become values; what does not is reported, and reading goes on.

use std::collections::{BTreeMap, BTreeSet};

use super::{InputMistake, Record};
use crate::placement::amount::Dimension;

/// The cells of one row.
pub(super) struct Fields<'a> {
    file: &'a str,
    record: &'a Record,
    mistakes: &'a mut Vec<InputMistake>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        file: &'a str,
        record: &'a Record,
        mistakes: &'a mut Vec<InputMistake>,
    ) -> Self {
        Self { file, record, mistakes }
    }

    /// Text without what would move a cursor.
    pub(super) fn text(&mut self, column: &str) -> Option<String> {
        let text = self.cell(column)?;
        if text.chars().any(char::is_control) {
            self.wrong(column, format!("{text:?} has control characters"));
            return None;
        }
        Some(text.to_owned())
    }

    /// The name, which every row has.
    pub(super) fn name(&mut self) -> String {
        if self.cell("name").is_none() {
            self.wrong("name", "a name is missing".to_owned());
        }
        self.text("name").unwrap_or_default()
    }

    /// A quantity; 0 if the cell is empty.
    pub(super) fn amount(&mut self, dimension: Dimension) -> u64 {
        let Some(text) = self.cell(dimension.name()) else { return 0 };
        dimension.parse(text).unwrap_or_else(|error| {
            self.wrong(dimension.name(), error.to_string());
            0
        })
    }

    /// A whole number up to a limit.
    pub(super) fn number(&mut self, column: &str, most: u32) -> Option<u32> {
        let text = self.cell(column)?;
        let number = text.parse().ok().filter(|number| *number <= most);
        if number.is_none() {
            self.wrong(column, format!("\"{text}\" is not a whole number up to {most}"));
        }
        number
    }

    /// `key=value;key=value`.
    pub(super) fn pairs(&mut self, column: &str) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        for part in self.list(column) {
            match part.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                    if let Some(other) = pairs.insert(key.clone(), value) {
                        self.wrong(column, format!("\"{key}\" is here twice, once as \"{other}\""));
                    }
                }
                Some(_) | None => {
                    self.wrong(column, format!("\"{part}\" is not key=value"));
                }
            }
        }
        pairs
    }

    /// `one;other`.
    pub(super) fn list(&mut self, column: &str) -> BTreeSet<String> {
        let text = self.text(column).unwrap_or_default();
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    fn cell(&self, column: &str) -> Option<&'a str> {
        self.record.cells.get(column).map(|(_, text)| text.as_str())
    }

    fn wrong(&mut self, column: &str, message: String) {
        self.mistakes.push(InputMistake {
            file: self.file.to_owned(),
            line: Some(self.record.line_of(column)),
            column: Some(column.to_owned()),
            message,
        });
    }
}
