//! The toolchain that compiles for BPF.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::Context;

use crate::run;

/// Debian's compiler.
const RUSTC: &str = "/usr/bin/rustc";
/// Debian's core library for the BPF target.
const BPF_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// A toolchain that compiles for BPF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bpf {
    /// Debian's rustc, with a compiled core.
    Debian,
    /// A nightly of rustup with its sources, which compiles core itself; it uses the bpf-linker in PATH.
    Nightly,
}

impl Bpf {
    /// The toolchain that is installed; Debian's is preferred.
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

    /// Cargo of this toolchain, without the variables that an outer cargo or rustup left in the environment.
    /// bpf-linker of Debian's toolchain is in the directory `linker`.
    ///
    /// # Errors
    /// PATH or `linker` cannot be part of a PATH.
    pub fn cargo(self, linker: &Path) -> anyhow::Result<Command> {
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
                    .env("PATH", path_with(&[linker, Path::new("/usr/bin")])?);
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

/// Variables that cargo and rustup set for their children; they would reach the wrong compiler.
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

fn path_with(first: &[&Path]) -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = first.iter().map(|one| one.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).context("PATH with bpf-linker's directory")
}
