//! The rules, each a function from the files to the places that break it.

use super::tree::{File, Tree};

/// A house rule.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) check: fn(&Tree) -> Vec<String>,
}

/// All rules.
pub(crate) const RULES: [Rule; 6] = [
    Rule { name: "the common crate knows no user side", check: common },
    Rule { name: "the core does no I/O", check: pure },
    Rule { name: "files stay short", check: length },
    Rule { name: "every reason is documented", check: reasons },
    Rule { name: "every metric is in the README", check: metrics },
    Rule { name: "nothing is left for later", check: leftovers },
];

const LINES_MAX: usize = 400;

/// aya's marker trait is the one exception: it can be implemented nowhere else.
fn common(tree: &Tree) -> Vec<String> {
    let forbidden = ["tokio", "aya::maps", "aya::programs", "aya_ebpf", "aya_log", "std::fs"];
    mentions(tree.rust().filter(|file| file.path.starts_with("lb-common/src/")), &forbidden)
}

fn pure(tree: &Tree) -> Vec<String> {
    let forbidden = ["tokio::", "aya::", "std::fs", "std::net::Tcp", "bollard", "kube::"];
    mentions(tree.rust().filter(|file| is_pure(&file.path)), &forbidden)
}

/// The directories that take values and return values.
fn is_pure(path: &str) -> bool {
    const DIRECTORIES: [&str; 9] = [
        "model/",
        "table/",
        "load/",
        "reconcile/",
        "config/",
        "docker/",
        "forecast/",
        "autoscale/",
        "placement/",
    ];
    let Some(path) = path.strip_prefix("lb-userspace/src/") else { return false };
    match path {
        "config/watch.rs"
        | "docker/bindings.rs"
        | "docker/engine.rs"
        | "docker/tls.rs"
        | "docker/follow.rs"
        | "docker/read.rs"
        | "docker/replicas.rs"
        | "docker/template.rs"
        | "load/host/cgroup.rs"
        | "load/host/file.rs"
        | "load/host/files.rs"
        | "load/host/io_files.rs"
        | "load/host/links.rs"
        | "load/host/machine.rs"
        | "load/report/asker.rs"
        | "load/report/fetch.rs" => false,
        "health/state.rs" => true,
        other => DIRECTORIES.iter().any(|directory| other.starts_with(directory)),
    }
}

fn mentions<'a>(files: impl Iterator<Item = &'a File>, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.filter(|file| !file.is_test()) {
        for (number, line) in file.code() {
            found.extend(
                forbidden
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{}:{number}: mentions {word}", file.path)),
            );
        }
    }
    found
}

fn length(tree: &Tree) -> Vec<String> {
    tree.rust()
        .filter(|file| !file.is_test())
        .map(|file| (file, file.lines().count()))
        .filter(|(_, count)| *count > LINES_MAX)
        .map(|(file, count)| format!("{}: {count} lines, {LINES_MAX} at most", file.path))
        .collect()
}

/// Silent while there is no such page.
fn reasons(tree: &Tree) -> Vec<String> {
    const PAGE: &str = "docs/reasons.md";
    let verdict = tree.file("lb-common/src/pipeline/verdict.rs");
    let (Some(page), Some(verdict)) = (tree.file(PAGE), verdict) else { return Vec::new() };
    verdict
        .code()
        .filter_map(|(_, line)| reason_name(line))
        .filter(|name| !page.text.contains(&format!("`{name}`")))
        .map(|name| format!("{PAGE}: does not explain `{name}`"))
        .collect()
}

/// The list of names is the one that a test compares with what is rendered.
fn metrics(tree: &Tree) -> Vec<String> {
    const PAGE: &str = "README.md";
    let metrics = tree.file("lb-userspace/src/metrics/mod.rs");
    let (Some(page), Some(metrics)) = (tree.file(PAGE), metrics) else { return Vec::new() };
    metrics
        .code()
        .skip_while(|(_, line)| !line.starts_with("pub const NAMES"))
        .take_while(|(_, line)| !line.starts_with("];"))
        .filter_map(|(_, line)| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .filter(|name| !page.text.contains(&format!("`{name}`")))
        .map(|name| format!("{PAGE}: does not explain `{name}`"))
        .collect()
}

/// The name in a line such as `NotIp = 2 "not-ip" Pass,`.
fn reason_name(line: &str) -> Option<&str> {
    let (_variant, rest) = line.split_once(" = ")?;
    let (number, rest) = rest.split_once(" \"")?;
    number.parse::<u8>().ok()?;
    rest.split_once('"').map(|(name, _)| name)
}

/// Tests are looked at too. The words are put together here, or this file would break the rule.
fn leftovers(tree: &Tree) -> Vec<String> {
    let words = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];
    let mut found = Vec::new();
    for file in tree.rust() {
        let lines = file.text.lines().enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word}", file.path, index + 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Tree { files: files.iter().map(file).collect() }
    }

    #[test]
    fn only_the_core_and_only_its_code_is_kept_from_io() {
        let cases = [
            ("lb-userspace/src/model/a.rs", "use tokio::net;\n", 1),
            ("lb-userspace/src/health/state.rs", "use std::fs;\n", 1),
            ("lb-userspace/src/config/raw.rs", "std::net::TcpStream, aya::Ebpf\n", 2),
            ("lb-userspace/src/config/watch.rs", "use tokio::net;\n", 0),
            ("lb-userspace/src/health/probe.rs", "use tokio::net;\n", 0),
            ("lb-userspace/src/table/a.rs", "// unlike tokio::net\n/// std::fs\n", 0),
            (
                "lb-userspace/src/table/a.rs",
                "fn a() {}\n#[cfg(test)]\nmod tests {\nuse std::fs;\n",
                0,
            ),
            ("lb-userspace/src/table/a.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;\n", 1),
            ("lb-userspace/src/reconcile/tests.rs", "use std::fs;\n", 0),
            ("lb-userspace/src/model/a.md", "tokio::net\n", 0),
            ("xtask/src/model/a.rs", "use std::fs;\n", 0),
        ];
        for (path, text, count) in cases {
            assert_eq!(pure(&tree(&[(path, text)])).len(), count, "{path}: {text}");
        }
    }

    #[test]
    fn a_finding_names_the_place() {
        let tree = tree(&[("lb-userspace/src/model/a.rs", "fn a() {}\nuse std::fs;\n")]);
        assert_eq!(pure(&tree), ["lb-userspace/src/model/a.rs:2: mentions std::fs"]);
    }

    #[test]
    fn the_common_crate_may_implement_aya_s_marker_only() {
        let cases = [
            ("unsafe impl aya::Pod for A {}", 0),
            ("use aya::maps::Array;", 1),
            ("use tokio::net;", 1),
            ("use std::fs::File;", 1),
        ];
        for (text, count) in cases {
            assert_eq!(common(&tree(&[("lb-common/src/a.rs", text)])).len(), count, "{text}");
        }
    }

    #[test]
    fn files_may_be_long_only_by_their_tests() {
        let long = "\n".repeat(LINES_MAX + 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{long}", "\n".repeat(LINES_MAX));
        let cases = [
            ("lb-common/src/a.rs", long.as_str(), 1),
            ("lb-common/src/a.rs", &long[1..], 0),
            ("lb-common/src/a.rs", tested.as_str(), 0),
            ("lb-common/tests/a.rs", long.as_str(), 0),
            ("docs/a.md", long.as_str(), 0),
        ];
        for (path, text, count) in cases {
            let bytes = text.len();
            assert_eq!(length(&tree(&[(path, text)])).len(), count, "{path}: {bytes} bytes");
        }
    }

    #[test]
    fn reasons_without_an_explanation_are_found() {
        let verdict = (
            "lb-common/src/pipeline/verdict.rs",
            "    /// Neither.\n    NotIp = 2 \"not-ip\" Pass,\n    Icmp = 4 \"icmp\" Pass,\n    \
             let text = \"words\";\n    const A: u8 = 3;\n",
        );
        assert!(reasons(&tree(&[verdict])).is_empty(), "no page, nothing to check");
        let page = |text| reasons(&tree(&[verdict, ("docs/reasons.md", text)]));
        assert!(page("`not-ip` and `icmp`").is_empty());
        assert_eq!(page("`not-ip` and icmp"), ["docs/reasons.md: does not explain `icmp`"]);
        assert_eq!(page("").len(), 2);
    }

    #[test]
    fn metrics_without_an_explanation_are_found() {
        let names = (
            "lb-userspace/src/metrics/mod.rs",
            "    \"weir_other\",\npub const NAMES: [&str; 2] = [\n    \"weir_a\",\n    \"weir_b\",\n];\n    \"weir_more\",\n",
        );
        let page = |text| metrics(&tree(&[names, ("README.md", text)]));
        assert!(page("`weir_a` and `weir_b`").is_empty());
        assert_eq!(page("weir_a and `weir_b`"), ["README.md: does not explain `weir_a`"]);
        assert_eq!(page("").len(), 2);
    }

    #[test]
    fn leftovers_are_found_in_tests_too_and_comments_may_name_them() {
        let code = concat!("fn a() { todo", "!() }");
        let test = concat!("#[cfg(test)]\n#[", "ignore = \"slow\"]\n");
        let comment = concat!("// a todo", "!() here");
        for (path, text, count) in [
            ("a/src/a.rs", code, 1),
            ("a/tests/a.rs", test, 1),
            ("a/src/a.rs", comment, 0),
            ("a/src/a.rs", "fn ignore() {}", 0),
        ] {
            assert_eq!(leftovers(&tree(&[(path, text)])).len(), count, "{text}");
        }
    }
}
