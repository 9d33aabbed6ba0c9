//! Numbers out of a text: one a line, or a column of a CSV file. What is wrong is named by its line.

use std::{fmt, io};

/// Between the columns; the first one that a text's first line has is meant.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Why a text holds no series.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {name}: {error}")]
    Unreadable {
        /// The file.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A line is not what it should be.
    #[error("{name}:{line}: {mistake}")]
    Line {
        /// The file.
        name: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        mistake: Mistake,
    },
    /// There are no numbers at all.
    #[error("{name}: no numbers")]
    Empty {
        /// The file.
        name: String,
    },
    /// The numbers are none that a model can use.
    #[error("{name}: {why}")]
    Unusable {
        /// The file.
        name: String,
        /// Why.
        why: String,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Not the text of a number.
    NotANumber(String),
    /// A number that is infinite or none.
    NotFinite(String),
    /// A missing value: a series has one at each step.
    Missing,
    /// Too few columns.
    NoColumn { wanted: usize, columns: usize },
    /// No column of this name.
    NoName { wanted: String, names: Vec<String> },
    /// Several columns hold numbers.
    Ambiguous { columns: Vec<String> },
    /// Not CSV.
    Csv(String),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber(text) => write!(f, "\"{text}\" is not a number"),
            Self::NotFinite(text) => write!(f, "{text} is not a finite number"),
            Self::Missing => write!(f, "the value is missing; a series has one at each step"),
            Self::NoColumn { wanted, columns } => {
                write!(f, "there is no column {wanted}, the line has {columns}")
            }
            Self::NoName { wanted, names } => {
                write!(f, "no column is named \"{wanted}\"; there are {}", names.join(", "))
            }
            Self::Ambiguous { columns } => {
                write!(f, "which column? choose with --column: {}", columns.join(", "))
            }
            Self::Csv(error) => write!(f, "{error}"),
        }
    }
}

/// All values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// The file.
    pub(super) name: String,
    /// In their order.
    pub(super) values: Vec<f64>,
}

/// Reads a series. `column` is a name of the first line or a number from 1; without it there must be
/// one column of numbers only. Blank lines and lines that begin with `#` are left out.
pub(super) fn read(name: &str, text: &str, column: Option<&str>) -> Result<Series, InputError> {
    let at = |line, mistake| InputError::Line { name: name.to_owned(), line, mistake };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    let Some(&(first_line, first)) = rows.peek() else {
        return Err(InputError::Empty { name: name.to_owned() });
    };
    let delimiter = DELIMITERS.into_iter().find(|it| first.as_bytes().contains(it));
    let delimiter = delimiter.unwrap_or(b',');
    let head = fields(first, delimiter).map_err(|mistake| at(first_line, mistake))?;
    let has_head = head.iter().all(|field| field.parse::<f64>().is_err());
    if has_head {
        rows.next();
    }
    let mut chosen = match column {
        Some(wanted) => Some(place(wanted, &head, has_head).map_err(|it| at(first_line, it))?),
        None => None,
    };
    let mut values = Vec::new();
    for (line, row) in rows {
        let fields = fields(row, delimiter).map_err(|mistake| at(line, mistake))?;
        let place = match chosen {
            Some(place) => place,
            None => only_number(&fields, &head, has_head).map_err(|mistake| at(line, mistake))?,
        };
        chosen = Some(place);
        values.push(number(&fields, place).map_err(|mistake| at(line, mistake))?);
    }
    if values.is_empty() {
        return Err(InputError::Empty { name: name.to_owned() });
    }
    Ok(Series { name: name.to_owned(), values })
}

/// The fields of one line.
fn fields(line: &str, delimiter: u8) -> Result<Vec<String>, Mistake> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    match reader.records().next() {
        Some(Ok(record)) => Ok(record.iter().map(ToOwned::to_owned).collect()),
        Some(Err(error)) => Err(Mistake::Csv(error.to_string())),
        None => Err(Mistake::Missing),
    }
}

/// The place of the column somebody named; a name comes before a number.
fn place(wanted: &str, head: &[String], has_head: bool) -> Result<usize, Mistake> {
    if let Some(place) = head.iter().position(|name| has_head && name == wanted) {
        return Ok(place);
    }
    match wanted.parse::<usize>() {
        Ok(number) if (1..=head.len()).contains(&number) => Ok(number - 1),
        Ok(wanted) => Err(Mistake::NoColumn { wanted, columns: head.len() }),
        Err(_) => {
            let names = if has_head { head.to_vec() } else { numbers(head.len()) };
            Err(Mistake::NoName { wanted: wanted.to_owned(), names })
        }
    }
}

/// The place of the one column that holds a number.
fn only_number(fields: &[String], head: &[String], has_head: bool) -> Result<usize, Mistake> {
    let places: Vec<usize> =
        (0..fields.len()).filter(|&place| fields[place].parse::<f64>().is_ok()).collect();
    match places[..] {
        [place] => Ok(place),
        // A single column is meant, whatever is in it.
        [] if fields.len() == 1 => Ok(0),
        [] => Err(Mistake::NotANumber(fields.join(","))),
        _ => {
            let name = |&place: &usize| {
                let name = head.get(place).filter(|_| has_head);
                name.cloned().unwrap_or_else(|| (place + 1).to_string())
            };
            Err(Mistake::Ambiguous { columns: places.iter().map(name).collect() })
        }
    }
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

fn number(fields: &[String], place: usize) -> Result<f64, Mistake> {
    let Some(text) = fields.get(place) else {
        return Err(Mistake::NoColumn { wanted: place + 1, columns: fields.len() });
    };
    if text.is_empty() {
        return Err(Mistake::Missing);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(Mistake::NotFinite(text.clone())),
        Err(_) => Err(Mistake::NotANumber(text.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_many_shapes() {
        for (text, column, values) in [
            ("1\n2.5\n-3e2\n", None, &[1.0, 2.5, -300.0][..]),
            ("1\r\n2\r\n", None, &[1.0, 2.0]),
            ("load\n1\n2", None, &[1.0, 2.0]),
            ("\u{feff}1\n2\n", None, &[1.0, 2.0]),
            ("# a comment\n\n 1 \n\n2\n", None, &[1.0, 2.0]),
            ("period,count\n1998-04-30,2\n1998-05-01,3\n", None, &[2.0, 3.0]),
            ("period,count\n1998-04-30,2\n", Some("count"), &[2.0]),
            ("a,b\n1,2\n3,4\n", Some("b"), &[2.0, 4.0]),
            ("a,b\n1,2\n3,4\n", Some("1"), &[1.0, 3.0]),
            ("1,2\n3,4\n", Some("2"), &[2.0, 4.0]),
            ("2,1\n5,6\n", Some("2"), &[1.0, 6.0]),
            ("a;b\n1;2\n", Some("b"), &[2.0]),
            ("a\tb\n1\t2\n", Some("a"), &[1.0]),
            ("at,\"requests, all\"\nx,\"7\"\n", Some("requests, all"), &[7.0]),
        ] {
            assert_eq!(read("f", text, column).unwrap().values, values, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, column, said) in [
            ("", None, "f: no numbers"),
            ("\n# only words\n\n", None, "f: no numbers"),
            ("load\n", None, "f: no numbers"),
            ("1\n\ntwo\n", None, "f:3: \"two\" is not a number"),
            ("words\nmore words\n", None, "f:2: \"more words\" is not a number"),
            ("1\nNaN\n", None, "f:2: NaN is not a finite number"),
            ("1\n2\n-inf\n", None, "f:3: -inf is not a finite number"),
            ("1\n1e999\n", None, "f:2: 1e999 is not a finite number"),
            ("a,b\nx,1\nx,\n", None, "f:3: the value is missing; a series has one at each step"),
            ("a,b\n1,2\n", None, "f:2: which column? choose with --column: a, b"),
            ("1,2\n", None, "f:1: which column? choose with --column: 1, 2"),
            ("a,b\nx,y\n", None, "f:2: \"x,y\" is not a number"),
            ("a,b\n1,2\n", Some("c"), "f:1: no column is named \"c\"; there are a, b"),
            ("1,2\n", Some("c"), "f:1: no column is named \"c\"; there are 1, 2"),
            ("a,b\n1,2\n", Some("3"), "f:1: there is no column 3, the line has 2"),
            ("a,b\n1,2\n", Some("0"), "f:1: there is no column 0, the line has 2"),
            ("a,b\n1,2\n3\n", Some("b"), "f:3: there is no column 2, the line has 1"),
            ("1,5\n2,5\n", Some("x"), "f:1: no column is named \"x\"; there are 1, 2"),
        ] {
            assert_eq!(read("f", text, column).unwrap_err().to_string(), said, "{text:?}");
        }
    }
}
