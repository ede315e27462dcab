//! The binaries under test.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// The binary `name` in `$NARU_DIST`, by default `target/dist` of the workspace.
///
/// # Errors
/// There is no such file.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = directory()?.join(name);
    if !path.is_file() {
        bail!("{}: not found: `cargo xtask build` makes it, or set NARU_DIST", path.display());
    }
    Ok(path)
}

/// The eBPF object `name` of the same build.
///
/// # Errors
/// There is no such file.
pub fn object(name: &str) -> anyhow::Result<PathBuf> {
    let dist = directory()?;
    let path = dist.parent().context("NARU_DIST has no parent")?.join("bpf").join(name);
    if !path.is_file() {
        bail!("{}: not found: `cargo xtask build --debug` makes it", path.display());
    }
    Ok(path)
}

fn directory() -> anyhow::Result<PathBuf> {
    if let Some(given) = env::var_os("NARU_DIST") {
        return Ok(given.into());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the workspace")?;
    Ok(workspace.join("target/dist"))
}
