//! Programs that are built from their crates, each version in a directory of its own.

use std::{fmt, path::PathBuf, process::Command};

use super::compiler::Bpf;
use crate::{
    run::{self, step},
    workspace,
};

/// A program that `cargo install` builds, unoptimised: that takes a minute less, and each does its work in a second.
#[derive(Clone, Copy)]
pub struct Tool {
    name: &'static str,
    version: &'static str,
    options: &'static [&'static str],
    /// Prefix of the LLVM to link with; without it the wrong place is searched.
    llvm: Option<&'static str>,
}

impl Tool {
    /// bpf-linker links eBPF objects; its LLVM must not be older than the compiler's.
    pub const BPF_LINKER: Self = Self {
        name: "bpf-linker",
        version: "0.13.0",
        options: &["--no-default-features", "--features", "llvm-22"],
        llvm: Some("/usr/lib/llvm-22"),
    };
    /// cargo-deny checks licences, sources and bans of dependencies.
    pub const CARGO_DENY: Self = Self { name: "cargo-deny", version: "0.20.2", options: &[], llvm: None };

    /// The directory of the program.
    ///
    /// # Errors
    /// No directory for tools can be chosen.
    pub fn bin_directory(&self) -> anyhow::Result<PathBuf> {
        Ok(self.root()?.join("bin"))
    }

    /// The path of the program.
    ///
    /// # Errors
    /// No directory for tools can be chosen.
    pub fn program(&self) -> anyhow::Result<PathBuf> {
        Ok(self.bin_directory()?.join(self.name))
    }

    /// True if the program is installed and runs. bpf-linker also counts as installed where the nightly toolchain
    /// brings its own.
    ///
    /// # Errors
    /// No directory for tools can be chosen.
    pub fn is_installed(&self) -> anyhow::Result<bool> {
        if self.llvm.is_some() && Bpf::present() == Some(Bpf::Nightly) {
            return Ok(true);
        }
        Ok(run::succeeds(Command::new(self.program()?).arg("--version")))
    }

    /// Builds and installs the program unless it is installed.
    ///
    /// # Errors
    /// Cargo fails.
    pub fn install(&self) -> anyhow::Result<()> {
        if self.is_installed()? {
            return Ok(());
        }
        let mut command = run::cargo();
        command.args(["install", "--locked", "--debug", "--force", "--version", self.version]);
        command.args(self.options).arg("--root").arg(self.root()?).arg(self.name);
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("CARGO_TARGET_DIR");
        if let Some(llvm) = self.llvm {
            command.env("LLVM_PREFIX", llvm);
        }
        step(&format!("install {self}"), &mut command)
    }

    fn root(&self) -> anyhow::Result<PathBuf> {
        Ok(workspace::tools()?.join(format!("{}-{}", self.name, self.version)))
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
