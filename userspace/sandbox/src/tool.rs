//! Programs that run inside a namespace.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::netns;

/// Runs `line`, split at blanks, inside the namespace, with `input` on stdin, and returns its output.
///
/// # Errors
/// It cannot be run, or fails: with what it said.
pub fn with_input(netns: &str, line: &str, input: &str) -> anyhow::Result<String> {
    let call = || -> anyhow::Result<String> {
        let mut words = line.split_ascii_whitespace();
        let mut command = Command::new(words.next().context("an empty command line")?);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("run")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that ends early tells why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().context("wait")?;
        if !output.status.success() {
            bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    netns::inside(netns, call).with_context(|| format!("{netns}: {line}"))
}
