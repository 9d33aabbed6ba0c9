//! Adds up the `test result:` lines of several runs of cargo test.

use std::fmt;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Summary {
    /// Takes one line of a test run into account.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some(one) = parse(line) {
            *self = self.plus(one);
        }
    }

    /// The sum of two runs.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// `test result: ok. 3 passed; 0 failed; 0 ignored; ...`
fn parse(line: &str) -> Option<Summary> {
    let (_status, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = count(counts.next()?, "passed")?;
    let failed = count(counts.next()?, "failed")?;
    Some(Summary { passed, failed })
}

fn count(text: &str, noun: &str) -> Option<u64> {
    let (number, found) = text.split_once(' ')?;
    (found == noun).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_understood() {
        let ok = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; \
                  finished in 0.01s";
        let bad = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(parse(ok), Some(Summary { passed: 3, failed: 0 }));
        assert_eq!(parse(bad), Some(Summary { passed: 1, failed: 2 }));
    }

    #[test]
    fn other_lines_count_nothing() {
        let lines = [
            "",
            "running 3 tests",
            "test result",
            "test result: ok",
            "test result: ok. many passed; 0 failed",
            "test result: ok. 3 passed",
            "test result: ok. 3 failed; 0 passed",
            " test result: ok. 3 passed; 0 failed; 0 ignored",
            "test says_3_passed ... ok",
        ];
        for line in lines {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn runs_add_up() {
        let mut summary = Summary::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 0 ignored",
            "noise",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored",
        ] {
            summary.read_line(line);
        }
        assert_eq!(summary.to_string(), "4 passed, 2 failed");
    }
}
