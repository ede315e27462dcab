use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use naru_sandbox::netns;

/// Runs the lines, commands of `ip` without their first word, in the namespace.
///
/// # Errors
/// One of them fails: with what `ip` said.
pub fn ip(netns: &str, lines: &str) -> anyhow::Result<()> {
    run(netns, "ip", &["-batch", "-"], lines)
}

/// Runs the lines, commands of `bridge` without their first word, in the namespace.
///
/// # Errors
/// One of them fails: with what `bridge` said.
pub fn bridge(netns: &str, lines: &str) -> anyhow::Result<()> {
    run(netns, "bridge", &["-batch", "-"], lines)
}

/// Loads the rules in the namespace.
///
/// # Errors
/// `nft` refuses them.
pub fn nft(netns: &str, rules: &str) -> anyhow::Result<()> {
    run(netns, "nft", &["-f", "-"], rules)
}

fn run(netns: &str, tool: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let call = || -> anyhow::Result<()> {
        let mut child = Command::new(tool)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("run")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that ends early tells why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().context("wait")?;
        if !output.status.success() {
            bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    };
    netns::inside(netns, call).with_context(|| format!("{netns}: {tool}"))
}
