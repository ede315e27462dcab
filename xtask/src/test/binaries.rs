//! The test binaries that cargo builds, run by xtask itself: several at a time, which cargo does not.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::tally::Tally;
use crate::{run, workspace::Workspace};

/// A built test binary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binary {
    /// The name of its package.
    pub package: String,
    /// The name of its target: of an integration test, its file's.
    pub target: String,
    /// The file.
    file: PathBuf,
    /// The directory of its package, in which cargo would run it.
    directory: PathBuf,
}

/// The binaries of the tests that `command` selects and that are built already.
///
/// # Errors
/// A crate does not compile, or cargo says something unknown.
pub fn list(command: &mut Command) -> anyhow::Result<Vec<Binary>> {
    command.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let said = run::output(command).context("list tests")?;
    said.lines().filter_map(|line| binary(line).transpose()).collect()
}

/// The test binary that a message of cargo names.
fn binary(message: &str) -> anyhow::Result<Option<Binary>> {
    let message: Value = serde_json::from_str(message).context("cargo: a message that is no JSON")?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return Ok(None);
    }
    let Some(file) = message["executable"].as_str() else { return Ok(None) };
    let manifest = message["manifest_path"].as_str().map(Path::new).and_then(Path::parent);
    let directory = manifest.context("cargo: an artifact without a manifest")?;
    let id = message["package_id"].as_str().context("cargo: an artifact without a package")?;
    // `path+file:///…/userspace/core#naru-core@0.1.0`, or `…/xtask#0.1.0` where the directory has the package's name.
    let named = id.rsplit_once('#').and_then(|(_, rest)| rest.split_once('@'));
    let package = named.map_or_else(
        || directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        |(name, _)| name.to_owned(),
    );
    let target =
        message["target"]["name"].as_str().context("cargo: an artifact without a target")?.to_owned();
    Ok(Some(Binary { package, target, file: file.into(), directory: directory.to_owned() }))
}

impl Binary {
    /// Runs it with these arguments; its output comes along.
    fn run(&self, workspace: &Workspace, arguments: &[&str], soak: bool) -> anyhow::Result<(Tally, String)> {
        let mut command = Command::new(&self.file);
        command.current_dir(&self.directory).args(arguments).env("NARU_DIST", workspace.dist());
        if soak {
            command.env("NARU_SOAK", "1");
        }
        let what = self.file.strip_prefix(&workspace.root).unwrap_or(&self.file).display().to_string();
        let (tally, output) = Tally::beside(&what, &mut command)?;
        Ok((tally, format!("     Running {what}\n{output}")))
    }
}

/// Runs the binaries in their order, so many at a time, and shows the output of each when it has ended. `run_of` names
/// the run to which a binary belongs; each run has a tally.
///
/// # Errors
/// A binary cannot be run.
pub fn run(
    workspace: &Workspace,
    binaries: Vec<Binary>,
    run_of: impl Fn(&Binary) -> String + Sync,
    (arguments, soak): (&[&str], bool),
    at_a_time: usize,
) -> anyhow::Result<Vec<Tally>> {
    let queue = Mutex::new(binaries.into_iter());
    let tallies = Mutex::new(Vec::<Tally>::new());
    let next = || {
        let binary = queue.lock().unwrap_or_else(PoisonError::into_inner).next()?;
        let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Some((Tally::place(&mut tallies, &run_of(&binary)), binary))
    };
    let work = || -> anyhow::Result<()> {
        while let Some((place, binary)) = next() {
            let (tally, output) = binary.run(workspace, arguments, soak)?;
            print!("{output}");
            tallies.lock().unwrap_or_else(PoisonError::into_inner)[place].add(&tally);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("tests: a panic"))?)
    })?;
    Ok(tallies.into_inner().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_is_told_from_other_messages_with_its_package_and_directory() {
        let message = |id: &str, test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "package_id": id, "manifest_path": "/w/userspace/core/Cargo.toml",
                "target": { "name": "ipam" },
                "profile": { "test": test }, "executable": "/w/target/debug/deps/ipam-1",
            })
            .to_string()
        };
        let found = binary(&message("path+file:///w/userspace/core#naru-core@0.1.0", true)).unwrap().unwrap();
        assert_eq!(
            (found.package.as_str(), found.target.as_str(), found.directory.as_path()),
            ("naru-core", "ipam", Path::new("/w/userspace/core"))
        );
        let found = binary(&message("path+file:///w/userspace/core#0.1.0", true)).unwrap().unwrap();
        assert_eq!(found.package, "core");
        assert_eq!(binary(&message("path+file:///w#a@1", false)).unwrap(), None);
        assert_eq!(binary(r#"{"reason":"build-finished","success":true}"#).unwrap(), None);
        assert!(binary("garbage").is_err());
    }
}
