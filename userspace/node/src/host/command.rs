//! Running the tools of the firewalls.

use std::time::Duration;

use super::{
    HostError,
    process::{Process, ProcessError, find_tool},
};

/// Time limit for a tool, which is told to wait 10 s for the lock of its tables.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs the tool in the calling thread's network namespace and returns what it printed.
///
/// # Errors
/// [`HostError::ToolMissing`], or [`HostError::Tool`] with what it wrote to its error output.
pub fn run(tool: &str, arguments: &[&str]) -> Result<String, HostError> {
    let failed = |reason: String| HostError::Tool { tool: format!("{tool} {}", arguments.join(" ")), reason };
    let program = find_tool(tool).ok_or_else(|| HostError::ToolMissing { tool: tool.to_owned() })?;
    let process = Process {
        program: &program,
        arguments,
        variables: &[("LC_ALL", "C")],
        stdin: b"",
        keeps_stderr: true,
        deadline: DEADLINE,
    };
    let ended = process.run().map_err(|error| match error {
        ProcessError::Deadline => failed(format!("no answer within {} s", DEADLINE.as_secs())),
        ProcessError::Io { action, source } => failed(format!("{action}: {source}")),
    })?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(failed(if reason.is_empty() { ended.status.to_string() } else { reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_prints_comes_back() {
        assert_eq!(run("echo", &["a", "b c"]).unwrap(), "a b c\n");
    }

    #[test]
    fn a_missing_tool_is_told_apart_from_a_failing_one() {
        assert!(matches!(run("naru-no-such-tool", &[]), Err(HostError::ToolMissing { .. })));
        let error = run("ls", &["/naru-no-such-file"]).unwrap_err();
        assert!(error.to_string().starts_with("ls /naru-no-such-file: "), "{error}");
    }
}
