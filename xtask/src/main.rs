//! The project's own tool: `cargo xtask setup | build | image | check | test | lab | bench`.
//!
//! It needs nothing but cargo to start; each command installs what it needs.

mod bench;
mod build;
mod check;
mod image;
mod lab;
mod run;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Set up, build, check and test naru")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need (Debian packages, bpf-linker, cargo-deny), where it is missing
    Setup(setup::SetupArgs),
    /// Build the eBPF object and the static binaries in target/dist
    Build(build::BuildArgs),
    /// Build the container image as the OCI archive target/dist/naru-image.tar
    Image(image::ImageArgs),
    /// Check house rules, dependency direction, format, licences and sources of dependencies, and lints
    Check,
    /// Run the tests: ring 0, then ring 1 as root on network namespaces
    Test(test::TestArgs),
    /// Bring up two nodes with pods, run the traffic matrix, show addresses and maps, take everything down
    Lab(lab::LabArgs),
    /// Build, then run `naru bench`: traffic, programs, plugins and memory beside others
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Setup(args) => setup::run(&workspace, &args),
        Command::Build(args) => build::command(&workspace, &args),
        Command::Image(args) => image::run(&workspace, &args),
        Command::Check => check::run(&workspace),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Lab(args) => lab::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
    }
}
