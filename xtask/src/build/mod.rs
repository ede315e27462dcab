//! `cargo xtask build`: the eBPF object, then the static binaries that embed it.

mod dist;
mod object;

pub use self::{dist::guest, object::cargo};
use crate::{run::say, setup::Needs, workspace::Workspace};

/// Runs the command.
///
/// # Errors
/// Set-up or a build fails.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    Needs::build().install()?;
    object::build(workspace)?;
    dist::build(workspace)?;
    for line in dist::listing(workspace)? {
        say(&line);
    }
    Ok(())
}
