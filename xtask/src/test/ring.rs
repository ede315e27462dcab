//! The runs of cargo that make up a ring.

use std::{process::Command, thread};

use anyhow::{Context, anyhow, bail};

use super::{
    binaries::{self, Binary},
    tally::Tally,
};
use crate::{
    run::{self, say},
    workspace::Workspace,
};

/// The crate of the end-to-end tests.
pub const END_TO_END: &str = "naru-e2e";
const DATAPATH: &str = "naru-datapath";
/// Test binaries of ring 0 at a time.
const RING_0_AT_A_TIME: usize = 4;
/// The crate whose tests mostly wait for timeouts of a real Kubernetes API; they run beside all others.
const SOURCE: &str = "naru-kubernetes";

/// True if the tests of this file change a setting that all namespaces share, or if load disturbs them: they run last
/// and one at a time.
fn is_serial(file: &str) -> bool {
    file.starts_with("serial")
}

/// The file of the tests that need a whole Kubernetes; `test --kubernetes` runs it, and ring 1 does not.
const KUBERNETES: &str = "kubernetes";

/// The tests with a real Kubernetes, one at a time.
///
/// # Errors
/// Cargo cannot be run.
pub fn kubernetes(workspace: &Workspace) -> anyhow::Result<Tally> {
    let mut tests = cargo_test(workspace);
    tests.args(["--package", END_TO_END, "--test", KUBERNETES]);
    root_tests(workspace, "Kubernetes", tests, false, true)
}

/// Ring 0: the tests that need no root. They are built first, so that the time is the tests' own; many of them wait, so
/// that binaries run beside each other.
///
/// # Errors
/// A crate does not compile, or a binary cannot be run.
pub fn zero(workspace: &Workspace) -> anyhow::Result<Tally> {
    let all = built(workspace, "build tests")?;
    say("ring 0");
    binaries::run(workspace, "ring 0", all, (&[], false), RING_0_AT_A_TIME)
}

/// Builds all tests, and returns their binaries.
fn built(workspace: &Workspace, what: &str) -> anyhow::Result<Vec<Binary>> {
    let all = ["--workspace", "--exclude", DATAPATH];
    run::step(what, cargo_test(workspace).args(all).arg("--no-run"))?;
    binaries::list(cargo_test(workspace).args(all))
}

/// Ring 1: the tests that ring 0 ignores because they need root.
///
/// # Errors
/// Cargo cannot be run, or no test ran.
pub fn one(workspace: &Workspace, soak: bool) -> anyhow::Result<Vec<Tally>> {
    let mut all = built(workspace, "build root tests")?;
    all.retain(|binary| binary.package == SOURCE);
    let what = format!("ring 1: {SOURCE}");
    let (tallies, source) = thread::scope(|scope| {
        let source = scope.spawn(|| binaries::run(workspace, &what, all, (&["--ignored"], soak), 1));
        (in_turn(workspace, soak), source.join())
    });
    let mut tallies = tallies?;
    tallies.push(source.map_err(|_| anyhow!("{what}: the thread that ran it panicked"))??);
    if tallies.iter().all(|tally| tally.passed == 0) {
        bail!("ring 1: no test ran");
    }
    Ok(tallies)
}

/// The crates, then each file of the end-to-end tests.
fn in_turn(workspace: &Workspace, soak: bool) -> anyhow::Result<Vec<Tally>> {
    let mut crates = cargo_test(workspace);
    crates.args(["--workspace", "--tests"]);
    crates.args([DATAPATH, END_TO_END, SOURCE].into_iter().flat_map(|name| ["--exclude", name]));
    let mut tallies = vec![root_tests(workspace, "ring 1: crates", crates, soak, false)?];
    for file in end_to_end(workspace)? {
        let mut tests = cargo_test(workspace);
        tests.args(["--package", END_TO_END, "--test", &file]);
        tallies.push(root_tests(workspace, &format!("ring 1: {file}"), tests, soak, is_serial(&file))?);
    }
    Ok(tallies)
}

fn root_tests(
    workspace: &Workspace,
    what: &str,
    mut command: Command,
    soak: bool,
    serial: bool,
) -> anyhow::Result<Tally> {
    prepare(workspace, &mut command, soak, serial);
    say(what);
    Tally::of(what, &mut command)
}

fn prepare(workspace: &Workspace, command: &mut Command, soak: bool, serial: bool) {
    command.env("NARU_DIST", workspace.dist());
    if soak {
        command.env("NARU_SOAK", "1");
    }
    command.args(["--", "--ignored"]);
    if serial {
        command.arg("--test-threads=1");
    }
}

/// Names of the end-to-end test files, the serial ones last.
fn end_to_end(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let metadata = workspace.metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata: no packages")?;
    let package = packages.iter().find(|package| package["name"] == END_TO_END);
    let targets = package.and_then(|package| package["targets"].as_array()).context("no end-to-end crate")?;
    let tests = targets.iter().filter(|target| target["kind"][0] == "test");
    let mut names: Vec<_> = tests.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect();
    names.retain(|name| name != KUBERNETES);
    names.sort_by_key(|name| (is_serial(name), name.clone()));
    Ok(names)
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = run::cargo();
    command.current_dir(&workspace.root).args(["test", "--no-fail-fast"]);
    command
}
