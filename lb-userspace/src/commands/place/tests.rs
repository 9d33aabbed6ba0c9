use std::{path::PathBuf, process::ExitCode};

use clap::Parser as _;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/placement");

/// A directory with both files.
struct Files(tempfile::TempDir);

impl Files {
    fn new(nodes: impl AsRef<[u8]>, workloads: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("nodes"), nodes).unwrap();
        fs::write(directory.path().join("workloads"), workloads).unwrap();
        Self(directory)
    }

    fn place(&self, more: &str) -> (ExitCode, String) {
        place(&self.0.path().join("nodes"), &self.0.path().join("workloads"), more)
    }
}

fn arguments(nodes: &Path, workloads: &Path, more: &str) -> PlaceArgs {
    let line = ["weir", "place", "--nodes", "N", "--workloads", "W"].into_iter();
    let cli = Cli::parse_from(line.chain(more.split_whitespace()));
    let Command::Place(args) = cli.command else { panic!("{more}") };
    PlaceArgs { nodes: nodes.into(), workloads: workloads.into(), ..args }
}

fn place(nodes: &Path, workloads: &Path, more: &str) -> (ExitCode, String) {
    let mut bytes = Vec::new();
    let mut out = Output::plain(&mut bytes);
    let code = run(&arguments(nodes, workloads, more), &mut out).unwrap();
    drop(out);
    (code, String::from_utf8(bytes).unwrap())
}

fn example(name: &str) -> PathBuf {
    Path::new(EXAMPLES).join(name)
}

#[test]
fn the_answer_for_people_is_whole() {
    let files = Files::new(
        "name,cpu,memory,zone\na,4,8Gi,east\nb,2,4Gi,\n",
        "name,replicas,cpu,memory,avoid\nweb,2,1,2Gi,web\nbig,1,3,64Gi,\njob,1,500m,100M,\n",
    );
    let (code, text) = files.place("--iterations 3 --method worst-fit --alone");
    assert_eq!(code, ExitCode::from(EXIT_UNPLACED));
    insta::assert_snapshot!(text, @r"
    3 of 4 replicas placed on 2 nodes by worst-fit

    big: it needs 64Gi memory, the largest node has 8Gi

    WORKLOAD  PLACED  NODES
    web            2  a, b
    job            1  a

    NODE  ZONE  REPLICAS    CPU  USED/HAS  MEMORY  USED/HAS
    a     east         2  37.5%  1500m/4    26.2%  2.0Gi/8Gi
    b     -            1  50.0%  1/2        50.0%  2Gi/4Gi

    OBJECTIVE       VALUE    ADDS
    deviation      0.0908  0.0908
    gap            0.0283  0.0142
    peak           0.5000  0.0500
    concentration  0.0000  0.0000
    unplaced            1  0.0500
    total                  0.2050
    ");
}

#[test]
fn the_comparison_marks_the_best() {
    let files = Files::new("name,cpu,memory\na,4,8Gi\n", "name,cpu,memory\nx,1,2Gi\n");
    let (code, text) = files.place("--iterations 1");
    assert_eq!(code, ExitCode::SUCCESS);
    let comparison = &text[text.find("METHOD").unwrap()..];
    assert_eq!(comparison.lines().count(), 1 + Method::ALL.len(), "{comparison}");
    assert_eq!(
        comparison.matches("best").count() - 1,
        Method::ALL.len(),
        "all alike, and best-fit"
    );
    assert!(!text.contains("MS"), "with iterations, no line depends on the clock: {text}");
    let (_, text) = files.place("--budget 1ms");
    assert!(text.contains("MS") && text.contains(" ms, seed 1"), "{text}");
}

#[test]
fn the_example_places_everything_within_its_rules() {
    let (nodes, workloads) = (example("nodes.csv"), example("workloads.csv"));
    let (code, text) = place(&nodes, &workloads, "--iterations 3 --json");
    assert_eq!(code, ExitCode::SUCCESS, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["assignment"].as_array().unwrap().len(), 34);
    let of = |workload: &str| -> Vec<String> {
        let all = report["assignment"].as_array().unwrap().iter();
        let mine = all.filter(|it| it["workload"] == workload);
        mine.map(|it| it["node"].as_str().unwrap().to_owned()).collect()
    };
    let mut databases = of("database");
    databases.sort_unstable();
    assert_eq!(databases, ["alder", "cedar"], "fast disks, one a node");
    assert!(!databases.contains(&of("reports")[0]));
    let uses: f64 = report["nodes"][0]["uses"]["cpu"]["utilisation"].as_f64().unwrap();
    assert!(uses > 0.0 && uses <= 1.0);
    let terms = report["terms"].as_array().unwrap();
    let sum: f64 = terms.iter().map(|term| term["adds"].as_f64().unwrap()).sum();
    assert!((sum - report["objective"].as_f64().unwrap()).abs() < 1e-12);
}

#[test]
fn seed_and_iterations_tell_the_whole_answer() {
    let (nodes, workloads) = (example("nodes.csv"), example("workloads.csv"));
    let answer = |more: &str| place(&nodes, &workloads, more).1;
    let one = answer("--iterations 4 --seed 3 --json --threads 1");
    assert_eq!(answer("--iterations 4 --seed 3 --json --threads 1"), one);
    assert_eq!(answer("--iterations 4 --seed 3 --json --threads 3"), one);
}

#[test]
fn a_budget_says_how_far_it_went() {
    let (nodes, workloads) = (example("nodes.csv"), example("workloads.csv"));
    let (_, text) = place(&nodes, &workloads, "--budget 300ms --alone --json");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert!(report["iterations"].as_u64().unwrap() > 0);
    assert!(report["elapsed_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(report["comparison"].as_array().unwrap().len(), 1);
}

#[test]
fn a_plot_is_written_where_it_was_asked_for() {
    let files = Files::new("name,cpu,memory\na,4,8Gi\n", "name,cpu,memory\nx,1,2Gi\n");
    let path = files.0.path().join("p.svg");
    let more = format!("--iterations 0 --plot {}", path.display());
    assert_eq!(files.place(&more).0, ExitCode::SUCCESS);
    assert!(fs::read_to_string(&path).unwrap().starts_with("<svg"));

    let args = arguments(
        &files.0.path().join("nodes"),
        &files.0.path().join("workloads"),
        "--iterations 0 --plot /nowhere/p.svg",
    );
    let error = run(&args, &mut Output::plain(io::sink())).unwrap_err();
    assert!(format!("{error:#}").starts_with("cannot write /nowhere/p.svg: No such file"));
}

#[test]
fn wrong_input_is_exit_code_2_with_every_mistake() {
    let good = "name,cpu,memory\nx,1,1\n";
    #[rustfmt::skip]
    let table: &[(&[u8], &str, &[&str])] = &[
        (b"name,cpu,memory\nx,1,y\n", "name,cpu,memory\nx,z,1\n",
            &["nodes:2:memory: \"y\" is not", "workloads:2:cpu: \"z\" is not"]),
        (b"", good, &["nodes: the file is empty"]),
        (b"name,cpu,memory\n\xff,1,1\n", good, &["nodes:2: this is no UTF-8 text"]),
    ];
    for (nodes, workloads, expected) in table {
        let files = Files::new(nodes, workloads);
        let (code, text) = files.place("--json");
        assert_eq!(code, ExitCode::from(EXIT_WRONG));
        let errors: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(errors["errors"].as_array().unwrap().len(), expected.len(), "{text}");

        let mistakes =
            load(&files.0.path().join("nodes"), &files.0.path().join("workloads")).unwrap_err();
        let mut stderr = Vec::new();
        refuse(&mistakes, false, &mut Output::plain(io::sink()), &mut stderr).unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(stderr.lines().count(), expected.len(), "{stderr}");
        for (line, part) in stderr.lines().zip(*expected) {
            assert!(line.contains(part), "{line}");
        }
    }
}

#[test]
fn both_files_that_are_not_there_are_named() {
    let mistakes = load(Path::new("/nowhere/n"), Path::new("/nowhere/w")).unwrap_err().to_string();
    assert_eq!(mistakes.lines().count(), 2, "{mistakes}");
    assert!(mistakes.starts_with("/nowhere/n: No such file"), "{mistakes}");
}
