//! Whatever the text is, there is an answer, and it points into the text.

use proptest::prelude::*;

use super::{super::Diagnostics, EXAMPLE, parse};

/// Pieces that YAML or a parser of ours takes notice of.
const PIECES: [&str; 24] = [
    ":",
    "-",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\n  ",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "\"",
    "'",
    "|\n",
    ">\n",
    "~",
    "services: ",
    "/tcp",
    "0",
    "99999999999999999999",
    "\u{feff}",
    "\t",
];

fn survives(text: &str) -> Result<(), TestCaseError> {
    let Err(mistakes) = parse("weir.yaml", text) else { return Ok(()) };
    points_into(&mistakes, text)?;
    let report = mistakes.render(false);
    prop_assert!(report.chars().all(|c| c == '\n' || !c.is_control()), "{report:?}");
    prop_assert!(mistakes.render(true).len() > report.len());
    Ok(())
}

fn points_into(mistakes: &Diagnostics, text: &str) -> Result<(), TestCaseError> {
    prop_assert!(!mistakes.list().is_empty());
    let lines = text.chars().filter(|c| matches!(c, '\n' | '\r')).count() + 2;
    for found in mistakes.list() {
        prop_assert!((1..=lines).contains(&usize::try_from(found.line).unwrap()), "{found:?}");
        prop_assert!(found.column >= 1 && found.width >= 1, "{found:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(text in "(?s).{0,200}") {
        survives(&text)?;
    }

    #[test]
    fn any_pieces_have_an_answer(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        survives(&pieces.concat())?;
    }

    #[test]
    fn a_truncated_example_has_an_answer(length in 0..EXAMPLE.len()) {
        let text: String = EXAMPLE.chars().take(length).collect();
        survives(&text)?;
    }

    #[test]
    fn a_flipped_byte_has_an_answer(at in 0..EXAMPLE.len(), bits in 1_u8..) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        bytes[at] ^= bits;
        survives(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn an_inserted_piece_has_an_answer(
        at in 0..EXAMPLE.len(),
        piece in prop::sample::select(&PIECES[..]),
        removed in 0_usize..20,
    ) {
        let before: String = EXAMPLE.chars().take(at).collect();
        let after: String = EXAMPLE.chars().skip(at + removed).collect();
        survives(&format!("{before}{piece}{after}"))?;
    }
}
