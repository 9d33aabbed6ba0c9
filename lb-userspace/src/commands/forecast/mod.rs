//! `weir forecast`: what comes next in a series of numbers, and how far to believe it.

mod analysis;
mod input;
mod picture;
mod text;

use std::{fs, io, io::Write as _, path::Path};

use anyhow::Context as _;

pub use self::input::InputError;
use self::{
    analysis::{Question, analyse},
    input::Series,
};
use crate::cli::{ForecastArgs, output::Output};

/// Reads, calculates, prints and draws.
pub fn run(args: &ForecastArgs, out: &mut Output<'_>) -> anyhow::Result<()> {
    let series = load(args)?;
    let question = Question { window: args.window, horizon: args.horizon, model: args.model };
    let analysis = analyse(&series.values, question).map_err(|error| InputError::Unusable {
        name: series.name.clone(),
        why: error.to_string(),
    })?;
    if let Some(path) = &args.plot {
        let svg = picture::draw(&series.name, &series.values, &analysis)?;
        fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.format.json {
        out.json(&analysis)?;
    } else {
        let text = text::render(&series.name, &analysis, out.colour());
        out.write_all(text.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// The series of the file, or of standard input.
fn load(args: &ForecastArgs) -> Result<Series, InputError> {
    let file = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let name = file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let text = match file {
        Some(path) => fs::read_to_string(path),
        None => io::read_to_string(io::stdin()),
    };
    let text = text.map_err(|error| InputError::Unreadable { name: name.clone(), error })?;
    input::read(&name, &text, args.column.as_deref())
}

#[cfg(test)]
mod tests;
