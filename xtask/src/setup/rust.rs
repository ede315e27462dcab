//! The components of the Rust toolchain that `check` uses.

use std::process::Command;

use super::packages;
use crate::run::{self, step};

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
