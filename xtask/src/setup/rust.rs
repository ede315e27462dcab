//! Rust toolchains: the one that compiles for BPF, and the components that `check` uses.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use super::{packages, tools::Tool};
use crate::run::{self, step};

/// Debian's compiler.
const RUSTC: &str = "/usr/bin/rustc";
/// Debian's core library for the BPF target.
const BPF_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// The compiler for BPF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bpf {
    /// Debian's rustc, with core compiled.
    Debian,
    /// A nightly of rustup with its sources, which compiles core itself; bpf-linker is the one in PATH.
    Nightly,
}

impl Bpf {
    /// The one that is here; Debian's first.
    #[must_use]
    pub fn present() -> Option<Self> {
        if Path::new(RUSTC).exists() && Path::new(BPF_CORE).exists() {
            return Some(Self::Debian);
        }
        let mut list = Command::new("rustup");
        list.args(["component", "list", "--toolchain", "nightly", "--installed"]);
        let has_source = run::output(&mut list).is_ok_and(|text| text.lines().any(|line| line == "rust-src"));
        let has_linker = run::succeeds(Command::new("bpf-linker").arg("--version"));
        (has_source && has_linker).then_some(Self::Nightly)
    }

    /// Cargo of this toolchain, free of what an outer cargo or rustup left in the environment.
    ///
    /// # Errors
    /// There is no place for bpf-linker.
    pub fn cargo(self) -> anyhow::Result<Command> {
        let mut command = match self {
            Self::Debian => Command::new("/usr/bin/cargo"),
            Self::Nightly => Command::new("rustup"),
        };
        for name in OUTER {
            command.env_remove(name);
        }
        match self {
            Self::Debian => {
                command
                    .env("RUSTC", RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("PATH", path_with(&[Tool::BPF_LINKER.bin_directory()?, "/usr/bin".into()])?);
            }
            Self::Nightly => {
                command.args(["run", "nightly", "cargo"]);
            }
        }
        Ok(command)
    }

    /// Options of cargo that only this toolchain needs.
    #[must_use]
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &[],
            Self::Nightly => &["-Zbuild-std=core"],
        }
    }
}

/// Variables that cargo and rustup set for their children, and that would reach the wrong compiler.
const OUTER: [&str; 9] = [
    "CARGO",
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
];

/// The components of cargo that do not answer.
#[must_use]
pub fn missing_components() -> Vec<&'static str> {
    let missing = |name: &&str| !run::succeeds(run::cargo().args([name, "--version"]));
    ["fmt", "clippy"].into_iter().filter(missing).collect()
}

/// Adds rustfmt and clippy to the toolchain that runs us: rustup's, or Debian's.
///
/// # Errors
/// rustup fails; without rustup, apt does.
pub fn install_components() -> anyhow::Result<()> {
    if missing_components().is_empty() {
        return Ok(());
    }
    if !run::succeeds(Command::new("rustup").arg("--version")) {
        return packages::add(&["rustfmt-web", "rust-web-clippy"]);
    }
    step("add rustfmt and clippy", Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]))
}

fn path_with(first: &[PathBuf]) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = first.iter().cloned().chain(std::env::split_paths(&path));
    std::env::join_paths(all).context("PATH with bpf-linker's directory")
}
