//! `cargo xtask tidy`: the house rules no compiler knows, as a table.

mod rules;
mod tree;

use anyhow::{Result, bail};

use self::rules::RULES;
use self::tree::Tree;
use crate::shell::say;
use crate::workspace;

pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(workspace::root())?;
    let mut broken = 0_usize;
    for rule in RULES {
        for finding in (rule.check)(&tree) {
            eprintln!("{finding} [{}]", rule.name);
            broken += 1;
        }
    }
    if broken > 0 {
        bail!("{broken} breaches of the house rules");
    }
    say(format!("tidy: {} files keep {} rules", tree.files.len(), RULES.len()));
    Ok(())
}
