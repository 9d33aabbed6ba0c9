//! What people and scripts get to see.

use super::parse;

const WRONG: &str = "interfaces: [eth0, eth0]
services:
  - name: web
    listen: [198.18.0.1:80/tcp, 198.18.0.1:80]
    polcy: maglev
    backends:
      - { address: 198.18.0.1:80, weight: 5000 }
";

fn report(text: &str) -> String {
    parse("weir.yaml", text).unwrap_err().render(false)
}

#[test]
fn all_mistakes_are_reported_at_once() {
    insta::assert_snapshot!(report(WRONG), @r"
    error: interface `eth0` is listed twice, first in line 1
     --> weir.yaml:1:20
      |
    1 | interfaces: [eth0, eth0]
      |                    ^^^^

    error: `198.18.0.1:80/tcp` is listened on twice, first in line 4
     --> weir.yaml:4:33
      |
    4 |     listen: [198.18.0.1:80/tcp, 198.18.0.1:80]
      |                                 ^^^^^^^^^^^^^

    error: unknown field `polcy` in a service
     --> weir.yaml:5:5
      |
    5 |     polcy: maglev
      |     ^^^^^
      = help: did you mean `policy`?

    error: backend `198.18.0.1:80` is the service address `198.18.0.1:80/tcp` in line 4
     --> weir.yaml:7:20
      |
    7 |       - { address: 198.18.0.1:80, weight: 5000 }
      |                    ^^^^^^^^^^^^^
      = help: name where the service runs

    error: weight `5000` is not a whole number from 0 to 1000
     --> weir.yaml:7:43
      |
    7 |       - { address: 198.18.0.1:80, weight: 5000 }
      |                                           ^^^^

    5 errors in weir.yaml
    ");
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let names: Vec<String> = (0..40).map(|number| format!("eth{number}")).collect();
    let text = format!("services: []\ninterfaces: [{}, a/b, last]\n", names.join(", "));
    insta::assert_snapshot!(report(&text), @r"
    error: interface `a/b` has a character that the kernel refuses in names
     --> weir.yaml:2:284
      |
    2 | …h34, eth35, eth36, eth37, eth38, eth39, a/b, last]
      |                                          ^^^

    1 error in weir.yaml
    ");
}

#[test]
fn aliases_do_not_multiply_without_end() {
    let hundred = |of: &str| format!("[{}]", vec![of; 100].join(", "));
    let text = format!(
        "a: &a {}\nb: &b {}\nservices: &c {}\nd: *c\n",
        hundred("x"),
        hundred("*a"),
        hundred("*b")
    );
    let report = report(&text);
    assert!(report.starts_with("error: too deep, or too many values"), "{report}");
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("services: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    for (depth, too_deep) in [(1, false), (20, false), (100, true)] {
        let told = parse("weir.yaml", &nested(depth)).err().map(|error| error.to_string());
        let told = told.is_some_and(|text| text.starts_with("error: too deep, or too many values"));
        assert_eq!(told, too_deep, "{depth}");
    }
    // The reader of YAML itself goes no deeper than that.
    assert!(report(&nested(100_000)).starts_with("error: not YAML: recursion limit exceeded"));
}

#[test]
fn nothing_in_the_text_reaches_the_terminal() {
    let text =
        "services: []\nattach: \"\\e[31m\"\n# \u{202e}\ndrain: '\u{202e}\u{9b}'\n\"\\e]0;\": 1\n";
    let report = report(text);
    let harmless = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
    assert!(report.chars().all(harmless), "{report:?}");
}

#[test]
fn colour_changes_nothing_else() {
    let mistakes = parse("weir.yaml", WRONG).unwrap_err();
    let mut colored = mistakes.render(true);
    assert!(colored.contains("\x1b[1;31merror\x1b[0m"));
    for code in ["\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"] {
        colored = colored.replace(code, "");
    }
    assert_eq!(colored, mistakes.render(false));
    assert_eq!(mistakes.to_string(), mistakes.render(false).trim_end());
}

#[test]
fn more_mistakes_than_anybody_reads_are_counted() {
    let text = format!("services: [{}]\n", "1, ".repeat(1000));
    let mistakes = parse("weir.yaml", &text).unwrap_err();
    assert_eq!(mistakes.list().len(), 1000);
    let report = mistakes.render(false);
    assert_eq!(report.matches("error: ").count(), 200);
    assert!(report.ends_with("1000 errors in weir.yaml; 800 of them not shown\n"));
}

#[test]
fn scripts_get_the_same_as_json() {
    let mistakes = parse("a.yaml", "services: []\nattach: xpd\ndrain: []\n").unwrap_err();
    let expected = serde_json::json!({
        "file": "a.yaml",
        "errors": [
            { "line": 2, "column": 9, "width": 3, "message": "unknown hook `xpd`",
              "hint": "did you mean `xdp`?" },
            { "line": 3, "column": 8, "width": 1, "message": "expected one value, found a list" },
        ],
    });
    assert_eq!(serde_json::to_value(mistakes).unwrap(), expected);
}
