//! The binaries to install.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{
    run::{self, step},
    workspace::{Kind, Workspace},
};

/// Programs that cargo builds.
const BUILT: [&str; 2] = ["naru", "naru-cni"];
/// Other names of naru-cni, which looks at the name it is started by.
const ALIASES: [&str; 2] = ["naru-ipam", "loopback"];

/// Builds the binaries, statically linked, and puts them into the dist directory.
///
/// # Errors
/// Cargo fails, or a file cannot be written.
pub fn build(workspace: &Workspace, kind: Kind) -> anyhow::Result<()> {
    let host = host()?;
    let mut command = static_build(workspace, &host);
    command.args(["--release", "--package", "naru", "--package", "naru-plugin"]);
    command.args(kind.features("naru"));
    step("static binaries", &mut command)?;
    let dist = workspace.dist_of(kind);
    fs::create_dir_all(&dist).with_context(|| format!("create {}", dist.display()))?;
    for name in BUILT {
        install(&workspace.target.join(&host).join("release").join(name), &dist.join(name))?;
    }
    ALIASES.iter().try_for_each(|alias| link(&dist.join("naru-cni"), &dist.join(alias)))
}

/// Builds the binaries of the image, without the lab and the bench, and returns their directory.
///
/// # Errors
/// Cargo fails, or a file cannot be written.
pub fn image_root(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let mut command = static_build(workspace, &host);
    command.args(["--release", "--package", "naru", "--package", "naru-plugin", "--no-default-features"]);
    step("static binaries of the image", &mut command)?;
    let root = workspace.target.join("image-root");
    fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    for name in BUILT {
        install(&workspace.target.join(&host).join("release").join(name), &root.join(name))?;
    }
    ALIASES.iter().try_for_each(|alias| link(&root.join("naru-cni"), &root.join(alias)))?;
    Ok(root)
}

/// Builds the first process of test machines and returns its path.
///
/// # Errors
/// Cargo fails.
pub fn guest(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let mut command = static_build(workspace, &host);
    step("guest", command.args(["--package", "naru-e2e", "--bin", "guest"]))?;
    Ok(workspace.target.join(host).join("debug/guest"))
}

/// Cargo's command for static binaries. Because a target is given, the flag does not reach build scripts and procedural
/// macros, which must stay dynamic.
fn static_build(workspace: &Workspace, target: &str) -> Command {
    let mut command = run::cargo();
    command.current_dir(&workspace.root).args(["build", "--target", target]);
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    command
}

/// A line for each file with its path and size.
///
/// # Errors
/// A file is missing.
pub fn listing(workspace: &Workspace, kind: Kind) -> anyhow::Result<Vec<String>> {
    let line = |name: &&str| {
        let path = workspace.dist_of(kind).join(name);
        let size = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        Ok(format!("{} ({:.1} MB)", path.display(), size as f64 / 1e6))
    };
    BUILT.iter().chain(&ALIASES).map(line).collect()
}

/// The target triple of this machine.
fn host() -> anyhow::Result<String> {
    let version = run::output(run::cargo().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("cargo -vV: no host")?.to_owned())
}

/// Copies by rename, so that a running program keeps its file.
fn install(from: &Path, to: &Path) -> anyhow::Result<()> {
    let staged = to.with_extension("new");
    fs::copy(from, &staged).with_context(|| format!("copy {} to {}", from.display(), staged.display()))?;
    fs::rename(&staged, to).with_context(|| format!("rename to {}", to.display()))
}

/// Makes `alias` a hard link to `of`.
fn link(of: &Path, alias: &Path) -> anyhow::Result<()> {
    let staged = alias.with_extension("new");
    let _ = fs::remove_file(&staged);
    fs::hard_link(of, &staged).with_context(|| format!("link {}", staged.display()))?;
    // Renaming one link of a file over another link of it does nothing and leaves both, so the first is removed.
    fs::rename(&staged, alias).with_context(|| format!("rename to {}", alias.display()))?;
    let _ = fs::remove_file(&staged);
    Ok(())
}
