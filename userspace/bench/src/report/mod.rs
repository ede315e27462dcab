//! The output of a bench: tables, charts, saved runs.

mod against;
mod chart;
mod grid;
mod place;
mod saved;
mod table;

use std::{fs, path::Path};

use anyhow::Context;

pub use self::{
    against::changes,
    chart::charts,
    saved::{Host, Run},
    table::table,
};

/// Writes the run for programs and for later comparison.
///
/// # Errors
/// The file cannot be written.
pub fn save(run: &Run, path: &Path) -> anyhow::Result<()> {
    fs::write(path, serde_json::to_vec_pretty(run)?).with_context(|| format!("write {}", path.display()))
}

/// A run that [`save`] has written.
///
/// # Errors
/// There is none, or of another version.
pub fn load(path: &Path) -> anyhow::Result<Run> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let run: Run = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    anyhow::ensure!(run.version == saved::VERSION, "{}: of version {}", path.display(), run.version);
    Ok(run)
}

/// Writes the charts of the run into the directory.
///
/// # Errors
/// A chart cannot be drawn, or a file not be written.
pub fn draw(run: &Run, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    for (name, svg) in charts(run)? {
        let path = directory.join(name);
        fs::write(&path, svg).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
