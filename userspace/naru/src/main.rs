//! `naru`: prepares a node, follows the cluster, shows what a node holds, and builds clusters to try things in.

mod args;
mod command;
mod report;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("naru: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process as other tools end when their reader does (`naru stats | head`): the standard library ignores the
/// signal, and printing panics then. Children get the default action anyway.
fn end_with_the_reader() {
    // SAFETY: no handler is installed, only the default action set, before any thread exists.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.command.ends_with_its_reader() {
        end_with_the_reader();
    }
    let paths = arguments.directories.paths();
    match arguments.command {
        Command::Init(args) => command::init::run(&paths, &args)?,
        Command::Agent(args) => return command::agent::run(&paths, &args),
        Command::Status(args) => return command::status::run(&paths, &args),
        Command::Routes(args) => command::routes::run(&paths, &args)?,
        Command::Flows(args) => command::flows::run(&paths, &args)?,
        Command::Endpoints(args) => command::endpoints::run(&paths, &args)?,
        Command::Stats(args) => command::stats::run(&paths, &args)?,
        Command::Ipam(args) => return Ok(command::ipam::run(&paths, &args)),
        Command::Uninstall(args) => command::uninstall::run(&paths, &args)?,
        #[cfg(feature = "bench")]
        Command::Bench(args) => return naru_bench::run(&args),
        #[cfg(feature = "lab")]
        Command::Lab(args) => return naru_lab::run(args),
    }
    Ok(ExitCode::SUCCESS)
}
