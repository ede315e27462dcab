//! `cargo xtask image`: the container image as an OCI archive, byte for byte the same for the same sources.
//!
//! The same image comes from `deploy/Containerfile`; this one needs no tool that builds images.

mod archive;
mod layer;
mod load;

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;

use self::{archive::Archive, load::Runtime};
use crate::{build, run::say, setup::Needs, workspace::Workspace};

/// The image's name, as the manifests have it.
pub const NAME: &str = concat!("ghcr.io/naru/naru:v", env!("CARGO_PKG_VERSION"));

/// Options of `image`.
#[derive(Args)]
pub struct ImageArgs {
    /// Import the image into this runtime
    #[arg(long, value_name = "RUNTIME")]
    load: Option<Runtime>,
    /// The socket of that runtime
    #[arg(long, value_name = "PATH", requires = "load")]
    address: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Set-up, build or import fails, or the archive cannot be written.
pub fn run(workspace: &Workspace, args: &ImageArgs) -> anyhow::Result<()> {
    let place = build(workspace)?;
    args.load.map_or(Ok(()), |runtime| runtime.load(&place, args.address.as_deref()))
}

/// Builds the image and returns the path of the archive.
///
/// # Errors
/// As [`run`].
pub fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    Needs::build().install()?;
    build::object(workspace, crate::workspace::Kind::Normal)?;
    let root = build::image_root(workspace)?;
    let archive = Archive::of(NAME, &layer::tar(&root)?)?;
    let place = workspace.dist().join("naru-image.tar");
    fs::create_dir_all(workspace.dist()).with_context(|| workspace.dist().display().to_string())?;
    fs::write(&place, archive.bytes()?).with_context(|| place.display().to_string())?;
    let megabytes = archive.layer_size() as f64 / 1e6;
    say(&format!("{}: {NAME}, {megabytes:.1} MB compressed, {}", place.display(), archive.digest()));
    Ok(place)
}
