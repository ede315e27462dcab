//! `cargo xtask test` runs ring 0 without root, then ring 1 on network namespaces, or ring 1's core on another kernel.

mod binaries;
mod ring;
mod tally;
mod vm;

use anyhow::bail;
use clap::Args;

use self::tally::Tally;
use crate::{
    build, image,
    run::{self, say},
    setup::Needs,
    workspace::{Kind, Workspace},
};

/// Options of `test`.
#[derive(Args)]
pub struct TestArgs {
    /// Run only this ring: 0 needs neither root nor set-up, 1 needs root
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    ring: Option<u8>,
    /// Run the full product of the traffic matrix, and more rounds
    #[arg(long)]
    soak: bool,
    /// Run only the core of ring 1, on Debian's newest kernel of this version (6.1) in qemu
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["ring", "soak"])]
    vm: Option<String>,
    /// Run only the tests with a real Kubernetes, upstream's conformance specs among them: a quarter of an hour
    #[arg(long, conflicts_with_all = ["ring", "soak", "vm"])]
    kubernetes: bool,
}

/// Runs the command.
///
/// # Errors
/// A test fails, or tests that should run cannot be run.
pub fn run(workspace: &Workspace, args: &TestArgs) -> anyhow::Result<()> {
    if let Some(version) = &args.vm {
        return vm::run(workspace, version);
    }
    if args.kubernetes {
        Needs::kubernetes(true).install()?;
        build::run(workspace)?;
        image::build(workspace)?;
        return conclude(&[ring::kubernetes(workspace)?]);
    }
    let wanted = |ring: u8| args.ring.is_none_or(|only| only == ring);
    if wanted(1) {
        if !run::is_root()? {
            bail!("ring 1 needs root; run as root, or run `cargo xtask test --ring 0`");
        }
        Needs::test().install()?;
        build::run(workspace)?;
        build::object(workspace, Kind::Debug)?;
    }
    let mut tallies = Vec::new();
    if wanted(0) {
        tallies.extend(ring::zero(workspace)?);
    }
    if wanted(1) {
        tallies.extend(ring::one(workspace, args.soak)?);
    }
    conclude(&tallies)
}

/// Prints a line for each run; fails if a run failed.
fn conclude(tallies: &[Tally]) -> anyhow::Result<()> {
    for tally in tallies {
        say(&tally.to_string());
    }
    let failed = tallies.iter().filter(|tally| tally.failed()).count();
    if failed > 0 {
        bail!("test: {failed} of {} runs failed", tallies.len());
    }
    let passed: u32 = tallies.iter().map(|tally| tally.passed).sum();
    say(&format!("test: {passed} tests passed, none failed, none skipped"));
    Ok(())
}
