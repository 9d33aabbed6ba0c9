//! Golden scenarios: `tests/scenarios/*.txt`. Lines that begin with `> ` are events; what follows
//! them is the plan (stage and reason of every step) and, after `---`, the whole of the maps.
//! `WEIR_BLESS=1 cargo test` writes what comes out into the files.

use std::{fmt::Write as _, fs, path::PathBuf, time::Instant};

use lb_userspace::{maps::dump::dump, model::Limits};

use crate::{script::perform, world::World};

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The events of all files: blocks of lines that are planned together.
pub(crate) fn histories() -> Vec<(String, Vec<Vec<String>>)> {
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, blocks(&fs::read_to_string(path).unwrap()))
    };
    files().into_iter().map(read).collect()
}

fn blocks(text: &str) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("> ") {
            Some(event) if inside => blocks.last_mut().unwrap().push(event.to_owned()),
            Some(event) => blocks.push(vec![event.to_owned()]),
            None => {}
        }
        inside = line.starts_with("> ");
    }
    blocks
}

fn replay(text: &str) -> String {
    let mut out: String =
        text.lines().take_while(|line| line.starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    let mut world = World::new(Limits::default(), Instant::now());
    for (index, events) in blocks(text).iter().enumerate() {
        out.push('\n');
        for event in events {
            writeln!(out, "> {event}").unwrap();
            perform(&mut world, event);
        }
        world.desired.generation = u32::try_from(index).unwrap() + 1;
        let plan = world.run();
        for step in &plan.steps {
            writeln!(out, "{:?}: {}", step.stage, step.why).unwrap();
        }
        write!(out, "---\n{}", dump(&world.snapshot())).unwrap();
    }
    out
}

#[test]
fn scenarios_come_out_as_written() {
    let bless = std::env::var_os("WEIR_BLESS").is_some();
    let mut differing = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let outcome = replay(&text);
        if outcome != text && bless {
            fs::write(&path, outcome).unwrap();
        } else if outcome != text {
            differing.push(format!("{}:\n{outcome}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
