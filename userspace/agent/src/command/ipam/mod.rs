//! `naru ipam`: the addresses of this node, shown and changed.
//!
//! Exit status of each: 0 done, or nothing found; 1 something found, or refused as things stand; 2 an error
//! (of use, of the node, of a file).

mod check;
mod list;
mod show;
mod view;

use std::{net::IpAddr, process::ExitCode};

use clap::{Args, Subcommand};
use naru_node::paths::Paths;

use crate::args::OutputArgs;

/// Exit status when something was found, or refused as things stand.
const FOUND: u8 = 1;
/// Exit status of an error.
const FAILED: u8 = 2;

/// Options of `ipam`.
#[derive(Args, Debug)]
pub struct IpamArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IpamCommand,
}

/// What to do with addresses.
#[derive(Subcommand, Debug)]
pub enum IpamCommand {
    /// `IP STATUS POD`: ASSIGNED, COOLING, RESERVED and, collapsed to ranges, FREE.
    List(OutputArgs),
    /// Everything about one address: state, owner, pool, and what the kernel shows. Exit status 1: in no pool, held by nobody.
    Show(ShowArgs),
    /// Compare the store with veths, namespaces, map entries and routes. Exit status 0: clean, 1: findings (that remain).
    Check(CheckArgs),
}

/// Options of `ipam show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The address.
    pub address: IpAddr,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Put right what the reconciler may: at once what is missing; what is to be taken away after a second look,
    /// ten seconds later.
    #[arg(long)]
    pub repair: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs `naru ipam`.
pub fn run(paths: &Paths, args: &IpamArgs) -> ExitCode {
    let good = match &args.command {
        IpamCommand::List(output) => list::run(paths, *output).map(|()| true),
        IpamCommand::Show(args) => show::run(paths, args),
        IpamCommand::Check(args) => check::run(paths, args),
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FOUND),
        Err(error) => {
            eprintln!("naru: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
