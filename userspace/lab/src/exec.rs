//! `lab exec`: only the network namespace changes, so pins stay visible.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use naru_sandbox::{netns, node};

use crate::{args::ExecArgs, model::Lab};

/// Runs the command and passes its exit status on.
pub fn run(options: &ExecArgs) -> anyhow::Result<ExitCode> {
    let lab = Lab::load(&options.name.lab)?;
    let (netns, environment) = place(&lab, &options.place)?;
    let [program, arguments @ ..] = options.command.as_slice() else { bail!("no command") };
    netns::enter(&netns)?;
    let status = Command::new(program)
        .args(arguments)
        .envs(environment)
        .status()
        .with_context(|| format!("run {program} in {netns}"))?;
    // A command that a signal ended is reported as shells report it.
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    let code = status.code().or(signal).and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

type Environment = Vec<(&'static str, std::path::PathBuf)>;

/// The namespace and, for a node, the environment of `place`.
fn place(lab: &Lab, place: &str) -> anyhow::Result<(String, Environment)> {
    if place == "out" {
        return Ok((lab.outside.netns.clone(), Vec::new()));
    }
    if let Some(node) = lab.nodes.iter().find(|node| node.name == place) {
        return Ok((node.netns.clone(), node::environment(&node.name, &node.root)));
    }
    match lab.pods.iter().find(|pod| pod.name == place) {
        Some(pod) => Ok((pod.netns.clone(), Vec::new())),
        None => {
            bail!("lab {}: no pod, node or outside host `{place}`; `naru lab status` lists them", lab.name)
        }
    }
}
