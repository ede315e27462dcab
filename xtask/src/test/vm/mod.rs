//! `cargo xtask test --vm 6.1`: the datapath's table and the traffic matrix on another kernel, in qemu.
//!
//! The guest sees this machine's files through 9p, read-only with a layer in memory above, so it runs the same
//! binaries and tools. Its kernel is Debian's package, unpacked below the target directory and not installed.

mod archive;
mod kernel;
mod machine;

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};

use self::{kernel::Kernel, machine::Machine};
use super::ring::END_TO_END;
use crate::{
    build,
    run::{self, say},
    setup::Needs,
    workspace::{Kind, Workspace},
};

/// Runs ring 1's core on the newest Debian kernel of `version` (`6.1`).
///
/// # Errors
/// There is no such kernel, the machine does not come up, or a test fails.
pub fn run(workspace: &Workspace, version: &str) -> anyhow::Result<()> {
    Needs::vm().install()?;
    build::run(workspace)?;
    build::object(workspace, Kind::Debug)?;
    let directory = workspace.target.join("vm");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let kernel = Kernel::fetch(version, &directory)?;
    say(&format!("kernel {}", kernel.release));
    let script = directory.join("script");
    fs::write(&script, self::script(workspace)?).context("write the guest's script")?;
    let machine = Machine { kernel: &kernel, init: build::guest(workspace)?, script, directory };
    let status = machine.run()?;
    if status != 0 {
        bail!("kernel {}: tests failed, exit status {status}", kernel.release);
    }
    say(&format!("kernel {}: passed", kernel.release));
    Ok(())
}

/// The guest's script; it ends at the first failure. The tunnel device encapsulates, as it does before 6.3.
fn script(workspace: &Workspace) -> anyhow::Result<String> {
    let programs = executable(workspace, &["test", "--no-run", "--test"], "programs")?;
    let matrix = executable(workspace, &["build", "--bin"], "matrix")?;
    let dist = workspace.dist();
    let (programs, matrix, dist) = (programs.display(), matrix.display(), dist.display());
    Ok(format!(
        "set -eu\nexport NARU_DIST='{dist}' PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp\nuname -r\n\
         '{programs}' --ignored --test-threads=1\n\
         '{dist}/naru' lab up --routing tunnel --encapsulation device --nodes 2 --pods 2\n\
         '{matrix}' --stream 1\n'{dist}/naru' lab down\n"
    ))
}

/// Builds one target of the end-to-end crate and returns its file.
fn executable(workspace: &Workspace, how: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    let mut command = run::cargo();
    command.current_dir(&workspace.root).args(how).arg(name);
    command.args(["--package", END_TO_END, "--message-format", "json-render-diagnostics"]);
    say(&format!("build {name}"));
    let messages = run::output(&mut command)?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut named = artifacts.filter(|artifact| artifact["target"]["name"] == name);
    let file = named.find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    file.with_context(|| format!("cargo built no {name}"))
}
