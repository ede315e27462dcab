//! The components of cargo that `check` uses.

use std::process::Command;

use super::packages;
use crate::run::{self, step};

/// Components of cargo that are not installed.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let missing = |name: &&str| !run::succeeds(run::cargo().args([name, "--version"]));
    ["fmt", "clippy"].into_iter().filter(missing).collect()
}

/// Adds rustfmt and clippy to the toolchain that runs this program: rustup's, or Debian's.
///
/// # Errors
/// rustup fails, or apt where there is no rustup.
pub fn install() -> anyhow::Result<()> {
    if missing().is_empty() {
        return Ok(());
    }
    if !run::succeeds(Command::new("rustup").arg("--version")) {
        return packages::add(&["rustfmt-web", "rust-web-clippy"]);
    }
    step("add rustfmt and clippy", Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]))
}
