//! Programs that run inside namespaces, and waiting for a condition.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::netns::Netns;

/// Runs `line`, split at blanks, inside `netns`, and returns its output.
///
/// # Errors
/// It cannot be run, or fails; the error has its output.
pub fn run(netns: &Netns, line: &str) -> anyhow::Result<String> {
    with_input(netns, line, "")
}

/// As [`run`], with `input` on stdin.
///
/// # Errors
/// As [`run`].
pub fn with_input(netns: &Netns, line: &str, input: &str) -> anyhow::Result<String> {
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().context("an empty command line")?);
    command.args(words);
    let output = output(netns, &mut command, input).with_context(|| format!("{}: {line}", netns.name()))?;
    text(output).with_context(|| format!("{}: {line}", netns.name()))
}

/// Runs `command` inside `netns` with `input` on stdin, to its end.
///
/// # Errors
/// The command cannot be run.
pub fn output(netns: &Netns, command: &mut Command, input: &str) -> anyhow::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    netns.run(|| {
        let mut child = command.spawn().context("run")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads nothing closes the pipe; its status shows the result.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output().context("wait")
    })
}

/// The output of a successful program.
///
/// # Errors
/// The program failed; the error has its output.
pub fn text(output: Output) -> anyhow::Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim(), stdout.trim());
    }
    Ok(stdout)
}

/// Checks every 20 ms, for `limit` at most, until `claim` holds; returns true if it held in the end.
pub fn holds_within(limit: Duration, mut claim: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if claim() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    claim()
}
