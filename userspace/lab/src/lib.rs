//! A cluster of network namespaces on one machine, with the same binaries that run on real hosts.
//!
//! Every node is a namespace with its own pins, state, run and configuration directories; a switch namespace
//! joins them, an outside host hangs on the same switch. Pods are attached through the CNI protocol.

mod args;
mod down;
mod exec;
mod layout;
mod model;
mod netlink;
mod plan;
mod process;
mod runtime;
mod status;
mod up;
mod wiring;

use std::process::ExitCode;

pub use args::LabArgs;
use args::LabCommand;

/// Runs one `lab` subcommand.
pub fn run(args: LabArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        LabCommand::Up(options) => up::run(&options).map(|()| ExitCode::SUCCESS),
        LabCommand::Status(options) => status::run(&options).map(|()| ExitCode::SUCCESS),
        LabCommand::Exec(options) => exec::run(&options),
        LabCommand::Down(options) => down::run(&options).map(|()| ExitCode::SUCCESS),
    }
}
