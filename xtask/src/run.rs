//! Runs programs: announces and times them, and names the command line in errors.

use std::{
    env,
    ffi::OsStr,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};

/// The cargo that runs this program.
#[must_use]
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Announces `what`, runs `command`, whose output goes to this program's, and says how long it took.
///
/// # Errors
/// The command cannot be run, or fails.
pub fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    say(what);
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).status().with_context(|| line(command))?;
    if !status.success() {
        bail!("{what}: {status}: {}", line(command));
    }
    say(&format!("{what}: done in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Runs `command` and returns its standard output.
///
/// # Errors
/// The command cannot be run, or fails; the error has its standard error.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| line(command))?;
    if !output.status.success() {
        bail!("{}: {}: {}", line(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// True if `command` runs and succeeds; its output is not shown.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Prints a line of progress.
pub fn say(text: &str) {
    println!("xtask: {text}");
}

/// True if the caller is root.
///
/// # Errors
/// `id` cannot be run.
pub fn is_root() -> anyhow::Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
