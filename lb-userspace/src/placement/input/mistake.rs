//! What is wrong with a file, and where.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// One mistake. It prints as `nodes.csv:3:cpu: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputMistake {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The name of the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is wrong, with the value.
    pub message: String,
}

impl fmt::Display for InputMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All of them, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Error)]
pub struct InputMistakes(pub Vec<InputMistake>);

impl fmt::Display for InputMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
