//! `cargo xtask build`: the eBPF object, then the static binaries that embed it.

mod dist;
mod object;

use clap::Args;

pub use self::{
    dist::{guest, image_root},
    object::{build as object, cargo},
};
use crate::{
    run::say,
    setup::Needs,
    workspace::{Kind, Workspace},
};

/// Options of `build`.
#[derive(Args)]
pub struct BuildArgs {
    /// Build programs that log every packet, and an agent that prints the log, into target/dist-debug
    #[arg(long)]
    debug: bool,
}

/// Runs the command.
///
/// # Errors
/// Set-up or a build fails.
pub fn command(workspace: &Workspace, args: &BuildArgs) -> anyhow::Result<()> {
    build(workspace, if args.debug { Kind::Debug } else { Kind::Normal })
}

/// Builds the binaries to install, after the set-up that is needed.
///
/// # Errors
/// Fails as [`command`] does.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    build(workspace, Kind::Normal)
}

fn build(workspace: &Workspace, kind: Kind) -> anyhow::Result<()> {
    Needs::build().install()?;
    object(workspace, kind)?;
    dist::build(workspace, kind)?;
    for line in dist::listing(workspace, kind)? {
        say(&line);
    }
    Ok(())
}
