//! The output of commands: plain rows for JSON and for tables.

#[macro_use]
mod print;

mod counters;
mod output;
mod pods;
mod table;

pub use counters::{HookRow, PodRow, hooks, pods};
pub use output::OutputArgs;
pub use pods::Owners;
pub use print::Log;
pub(crate) use print::{is_broken, lines, warning};
pub use table::Table;

/// Prints `rows` as indented JSON.
pub fn print_json(rows: &impl serde::Serialize) -> anyhow::Result<()> {
    out!("{}\n", serde_json::to_string_pretty(rows)?);
    Ok(())
}
