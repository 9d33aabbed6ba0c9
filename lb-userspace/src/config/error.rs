//! What is wrong with a configuration, and where.

use std::{fmt, io, path::PathBuf};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{BYTES_MAX, render};

/// A part of one line of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
    /// In characters, at least 1.
    pub(super) width: u32,
}

/// What is wrong with one value, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: harmless(&message.into()), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(harmless(&hint.into()));
        self
    }

    pub(super) fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

/// Whatever a message repeats of a text: a terminal would act on its control characters.
fn harmless(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// A value as a message shows it: escaped, and short.
pub(super) fn shown(value: &str) -> String {
    const CHARS_MAX: usize = 60;
    if value.is_empty() {
        return "`\"\"`".to_owned();
    }
    let short: String = value.chars().take(CHARS_MAX).collect();
    let more = if short.len() < value.len() { "…" } else { "" };
    format!("`{}{more}`", escaped(&short))
}

/// The text with whatever a terminal would act on, or not show, as escapes.
pub(super) fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' | '"' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

/// The known word that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells a name at this length, and the comparison takes the square of it.
    const BYTES_MAX: usize = 64;
    if word.len() > BYTES_MAX {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    let distance = |candidate: &str| strsim::osa_distance(&word, candidate);
    known
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(4))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Collects mistakes.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn add(&mut self, place: Place, mistake: Mistake) {
        let Place { line, column, width } = place;
        let Mistake { message, hint } = mistake;
        self.found.push(Diagnostic { line, column, width, message, hint });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The mistakes in the order of the text.
    pub(super) fn finish(mut self, name: &str, source: &str) -> Diagnostics {
        self.found.sort_by_key(|found| (found.line, found.column));
        Diagnostics { name: name.to_owned(), source: source.to_owned(), list: self.found }
    }
}

/// One mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters that are wrong, from the column on.
    pub width: u32,
    /// The value, and the rule that it breaks.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// All mistakes of a configuration, in the order of its text; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    name: String,
    source: String,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// The mistakes.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// A report for people: each mistake under its line, with a caret.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render::report(&self.name, &self.source, &self.list, color)
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Diagnostics", 2)?;
        fields.serialize_field("file", &self.name)?;
        fields.serialize_field("errors", &self.list)?;
        fields.end()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than [`BYTES_MAX`].
    #[error("{} is larger than {} MiB", path.display(), BYTES_MAX / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{}: line {line} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the first byte is that cannot be text.
        line: usize,
    },
    /// It has mistakes.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}
