//! The runs of cargo that make up a ring.

use std::process::Command;

use anyhow::bail;

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
/// Test binaries of ring 1 at a time: some wait for timeouts, most of the others' time is the verifier's.
const RING_1_AT_A_TIME: usize = 2;
/// The crate whose tests take longest, because they wait for timeouts of a real Kubernetes API: it starts first.
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
    tests.args(["--package", END_TO_END, "--test", KUBERNETES]).env("NARU_DIST", workspace.dist());
    tests.args(["--", "--ignored", "--test-threads=1"]);
    say("Kubernetes");
    Tally::of("Kubernetes", &mut tests)
}

/// Ring 0: the tests that need no root. They are built first, so that the time is the tests' own; many of them wait, so
/// that binaries run beside each other.
///
/// # Errors
/// A crate does not compile, or a binary cannot be run.
pub fn zero(workspace: &Workspace) -> anyhow::Result<Vec<Tally>> {
    let all = built(workspace, "build tests")?;
    say("ring 0");
    binaries::run(workspace, all, |_| "ring 0".to_owned(), (&[], false), RING_0_AT_A_TIME)
}

/// Builds all tests, and returns their binaries.
fn built(workspace: &Workspace, what: &str) -> anyhow::Result<Vec<Binary>> {
    let all = ["--workspace", "--exclude", DATAPATH];
    run::step(what, cargo_test(workspace).args(all).arg("--no-run"))?;
    binaries::list(cargo_test(workspace).args(all))
}

/// Ring 1: the tests that ring 0 ignores because they need root; a line of the result for each crate and each file of
/// the end-to-end tests.
///
/// # Errors
/// A crate does not compile, a binary cannot be run, or no test ran.
pub fn one(workspace: &Workspace, soak: bool) -> anyhow::Result<Vec<Tally>> {
    let mut all = built(workspace, "build root tests")?;
    all.retain(|binary| !(binary.package == END_TO_END && binary.target == KUBERNETES));
    all.sort_by_key(|binary| (binary.package != SOURCE, binary.package != END_TO_END));
    let (serial, beside): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|binary| binary.package == END_TO_END && is_serial(&binary.target));
    say("ring 1");
    let mut tallies = binaries::run(workspace, beside, run_of, (&["--ignored"], soak), RING_1_AT_A_TIME)?;
    let alone = ["--ignored", "--test-threads=1"];
    tallies.extend(binaries::run(workspace, serial, run_of, (&alone, soak), 1)?);
    if tallies.iter().all(|tally| tally.passed == 0) {
        bail!("ring 1: no test ran");
    }
    Ok(tallies)
}

/// The run of ring 1 to which a binary belongs.
fn run_of(binary: &Binary) -> String {
    let name = if binary.package == END_TO_END { &binary.target } else { &binary.package };
    format!("ring 1: {name}")
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = run::cargo();
    command.current_dir(&workspace.root).args(["test", "--no-fail-fast"]);
    command
}
