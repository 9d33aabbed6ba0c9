//! An error and its causes as people read them.

/// The error and its causes in one line. Many messages name their cause themselves; nothing is said
/// twice.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |line, cause| {
        let cause = cause.to_string();
        if line.is_empty() {
            cause
        } else if line.ends_with(&cause) {
            line
        } else {
            format!("{line}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{path}: cannot listen: {source}")]
    struct Telling {
        path: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_are_told_once() {
        let refused = || Telling { path: "/x", source: io::Error::other("no room") };
        let rows = [
            (anyhow::anyhow!("alone"), "alone"),
            (anyhow::anyhow!("inner").context("outer"), "outer: inner"),
            (anyhow::Error::from(refused()), "/x: cannot listen: no room"),
            (anyhow::Error::from(refused()).context("start"), "start: /x: cannot listen: no room"),
            (
                Err::<(), _>(refused()).context("a: no room").unwrap_err(),
                "a: no room: /x: cannot listen: no room",
            ),
        ];
        for (error, line) in rows {
            assert_eq!(one_line(&error), line);
        }
    }
}
