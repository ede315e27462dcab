//! The workspace's directories and crates, as cargo describes them.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::run;

/// Directories of the workspace.
pub struct Workspace {
    /// Directory of the virtual manifest.
    pub root: PathBuf,
    /// Cargo's target directory, `CARGO_TARGET_DIR` included.
    pub target: PathBuf,
}

impl Workspace {
    /// The workspace around the current directory.
    ///
    /// # Errors
    /// There is no workspace, or cargo cannot read it.
    pub fn find() -> anyhow::Result<Self> {
        let metadata = metadata(&env::current_dir()?, &["--no-deps"])?;
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata: no {key}"))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// `cargo metadata` of the workspace, resolved dependencies included.
    ///
    /// # Errors
    /// Cargo fails.
    pub fn metadata(&self) -> anyhow::Result<Value> {
        metadata(&self.root, &[])
    }

    /// The directory that gets the binaries to install.
    #[must_use]
    pub fn dist(&self) -> PathBuf {
        self.dist_of(Kind::Normal)
    }

    /// The directory that gets the binaries of a kind.
    #[must_use]
    pub fn dist_of(&self, kind: Kind) -> PathBuf {
        self.target.join(match kind {
            Kind::Normal => "dist",
            Kind::Debug => "dist-debug",
        })
    }

    /// The eBPF object that the binaries embed. It is below the workspace's own directory, where
    /// `userspace/bpf/build.rs` looks for it.
    #[must_use]
    pub fn object(&self, kind: Kind) -> PathBuf {
        self.root.join(match kind {
            Kind::Normal => "target/bpf/naru-datapath.o",
            Kind::Debug => "target/bpf/naru-datapath-debug.o",
        })
    }
}

/// The kind of a build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The build to install and to measure; it logs no packet.
    Normal,
    /// The programs log every packet and the agent prints the log.
    Debug,
}

impl Kind {
    /// Cargo's options for this kind: the feature `debug` of `package`, or none.
    #[must_use]
    pub fn features(self, package: &str) -> Vec<String> {
        match self {
            Self::Normal => Vec::new(),
            Self::Debug => vec!["--features".into(), format!("{package}/debug")],
        }
    }
}

/// The directory of project tools (bpf-linker, cargo-deny). It is outside the target directory, so that `cargo clean`
/// and further clones keep them.
///
/// # Errors
/// Neither `NARU_TOOLS`, `XDG_CACHE_HOME` nor `HOME` is set.
pub fn tools() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(given) = set("NARU_TOOLS") {
        return Ok(given);
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    match cache {
        Some(cache) => Ok(cache.join("naru-tools")),
        None => bail!("no directory for tools; set HOME or NARU_TOOLS"),
    }
}

fn metadata(directory: &Path, options: &[&str]) -> anyhow::Result<Value> {
    let mut command = run::cargo();
    command.current_dir(directory).args(["metadata", "--format-version", "1"]).args(options);
    serde_json::from_str(&run::output(&mut command)?).context("cargo metadata: not JSON")
}
