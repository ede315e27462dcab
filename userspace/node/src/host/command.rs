//! Running the tools of the firewalls.

use std::{
    io::{self, Write},
    process::{Command, Output, Stdio},
};

use super::HostError;

/// Where administrators' tools are, which a container runtime may have left out of its plugins' `PATH`.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// Runs the tool in the calling thread's network namespace and returns what it printed.
///
/// # Errors
/// [`HostError::ToolMissing`], or [`HostError::Tool`] with what it wrote to its error output.
pub fn run(tool: &str, arguments: &[&str], input: &str) -> Result<String, HostError> {
    let call = || format!("{tool} {}", arguments.join(" "));
    let output = output(tool, arguments, input).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HostError::ToolMissing { tool: tool.to_owned() },
        _ => HostError::Tool { tool: call(), reason: error.to_string() },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let reason = if reason.is_empty() { output.status.to_string() } else { reason };
    Err(HostError::Tool { tool: call(), reason })
}

/// Runs the tool with `input` on its standard input. The tools read all of it before they print, so that writing first
/// cannot block.
fn output(tool: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(tool)
        .args(arguments)
        .env("PATH", format!("{path}:{SYSTEM_PATH}"))
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It ended without reading everything: its own words tell more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_gets_its_input_and_its_output_comes_back() {
        assert_eq!(run("cat", &[], "text").unwrap(), "text");
    }

    #[test]
    fn a_missing_tool_is_told_apart_from_a_failing_one() {
        assert!(matches!(run("naru-no-such-tool", &[], ""), Err(HostError::ToolMissing { .. })));
        let error = run("ls", &["/naru-no-such-file"], "").unwrap_err();
        assert!(error.to_string().starts_with("ls /naru-no-such-file: "), "{error}");
    }
}
