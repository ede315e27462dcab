//! `cargo xtask check`: every check that does not run the product.

mod direction;
mod size;
mod subject;
mod tidy;

use std::process::Command;

use anyhow::bail;

use crate::{
    build,
    run::{self, say, step},
    setup::{Needs, Tool},
    workspace::{Kind, Workspace},
};

/// Runs the command.
///
/// # Errors
/// Something is found, or a tool cannot be run.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    Needs::check().install()?;
    none_of("house rules", &tidy::complaints(workspace)?)?;
    none_of("subjects of commits", &subject::complaints(workspace)?)?;
    none_of("dependency direction", &direction::complaints(&workspace.metadata()?)?)?;
    step("format", cargo(workspace).args(["fmt", "--all", "--check"]))?;
    step("licences, bans and sources of dependencies", &mut deny(workspace)?)?;
    step("clippy", cargo(workspace).args(CLIPPY))?;
    step("clippy of the debug build", cargo(workspace).args(CLIPPY_DEBUG))?;
    clippy_of_datapath(workspace, "clippy of the datapath", Kind::Normal)?;
    clippy_of_datapath(workspace, "clippy of the datapath's debug build", Kind::Debug)
}

/// clippy uses the profile of the build, so that both use the same procedural macros.
fn clippy_of_datapath(workspace: &Workspace, what: &str, kind: Kind) -> anyhow::Result<()> {
    let mut datapath = build::cargo(workspace, "clippy", kind)?;
    step(what, datapath.args(["--release", "--quiet", "--", "-D", "warnings"]))
}

const CLIPPY_DEBUG: [&str; 9] =
    ["clippy", "--package", "naru", "--features", "naru/debug", "--quiet", "--", "-D", "warnings"];

const CLIPPY: [&str; 9] = [
    "clippy",
    "--workspace",
    "--exclude",
    "naru-datapath",
    "--all-targets",
    "--quiet",
    "--",
    "-D",
    "warnings",
];

fn cargo(workspace: &Workspace) -> Command {
    let mut command = run::cargo();
    command.current_dir(&workspace.root);
    command
}

fn deny(workspace: &Workspace) -> anyhow::Result<Command> {
    let mut command = Command::new(Tool::CARGO_DENY.program()?);
    command.current_dir(&workspace.root).args(["check", "bans", "licenses", "sources"]);
    Ok(command)
}

fn none_of(what: &str, complaints: &[String]) -> anyhow::Result<()> {
    for complaint in complaints {
        say(complaint);
    }
    if !complaints.is_empty() {
        bail!("{what}: {} found", complaints.len());
    }
    say(&format!("{what}: kept"));
    Ok(())
}
