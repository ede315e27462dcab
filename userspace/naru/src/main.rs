//! `naru`: prepares a node, follows the cluster, shows what a node holds, and builds clusters to try things in.

#[macro_use]
mod report;

mod args;
mod command;
mod root;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(_) if report::is_broken() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            errln!("naru: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the error with its causes, each once: the text of many an error contains its cause already.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        text if text.ends_with(&cause) => text.to_owned(),
        text => format!("{text}: {cause}"),
    })
}

/// Ends the process like other tools when its reader ends (`naru stats | head`): the standard library ignores the
/// signal, and printing would panic. Children get the default action in any case.
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
        Command::Agent(args) => return command::agent::run(&arguments.directories, &args),
        Command::Status(args) => return command::status::run(&paths, &args),
        Command::Routes(args) => command::routes::run(&paths, &args)?,
        Command::Flows(args) => command::flows::run(&paths, &args)?,
        Command::Endpoints(args) => command::endpoints::run(&paths, &args)?,
        Command::Stats(args) => command::stats::run(&paths, &args)?,
        Command::Ipam(args) => return Ok(command::ipam::run(&paths, &args)),
        Command::Install(args) => command::install::run(&arguments.directories.given(), &args)?,
        Command::Node(args) => return command::node::run(&paths, &args),
        Command::Service(args) => return command::service::run(&paths, &args),
        Command::Cluster(args) => return Ok(command::cluster::run(&args)),
        Command::Policy(args) => return command::policy::run(&paths, &args),
        Command::Uninstall(args) => command::uninstall::run(&paths, &args)?,
        #[cfg(feature = "bench")]
        Command::Bench(args) => return naru_bench::run(&args),
        #[cfg(feature = "lab")]
        Command::Lab(args) => return naru_lab::run(args),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("PODS: {source}")]
    struct Outer {
        source: io::Error,
    }

    #[test]
    fn a_cause_that_the_error_says_already_is_not_said_again() {
        let outer = || Outer { source: io::Error::other("refused") };
        assert_eq!(told(&anyhow::Error::new(outer()).context("init")), "init: PODS: refused");
        assert_eq!(told(&anyhow::Error::new(io::Error::other("refused")).context("init")), "init: refused");
        assert_eq!(told(&anyhow::anyhow!("refused")), "refused");
    }
}
