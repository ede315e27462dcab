//! `naru ipam`: the addresses of this node, shown and changed.
//!
//! Exit status of each: 0 done, or nothing found; 1 something found, or refused as things stand; 2 an error
//! (of use, of the node, of a file).

mod check;
mod import;
mod list;
mod pool;
mod reserve;
mod show;
mod split;
mod view;

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use ipnet::IpNet;
use naru_node::paths::Paths;

use crate::report::OutputArgs;

/// Exit status when something was found, or refused as things stand.
const FOUND: u8 = 1;
/// Exit status of an error.
const FAILED: u8 = 2;

/// Options of `ipam`.
#[derive(Args, Debug)]
pub struct IpamArgs {
    /// The command.
    #[command(subcommand)]
    pub command: IpamCommand,
}

/// A command about addresses.
#[derive(Subcommand, Debug)]
pub enum IpamCommand {
    /// `IP STATUS POD`: ASSIGNED, COOLING, RESERVED and, collapsed to ranges, FREE.
    List(OutputArgs),
    /// Everything about one address: state, owner, pool, and what the kernel shows. Exit status 1: in no pool, held
    /// by nobody.
    Show(ShowArgs),
    /// Compare the store with veths, namespaces, map entries and routes. Exit status 0: clean, 1: findings (that
    /// remain).
    Check(CheckArgs),
    /// Keep an address from everybody, or for one pod, over re-creation and reboot. Exit status 1: somebody has it, or
    /// it is in no pool, or in one that the pod does not use.
    Reserve(ReserveArgs),
    /// End a reservation. Exit status 1: there is none.
    Unreserve(UnreserveArgs),
    /// Pools with a name, for network configurations, pods and namespaces that ask for them.
    Pool(PoolArgs),
    /// Take over what host-local gave to containers that live, without touching them; what nobody lives in is left
    /// out. Exit status 1: an address could not be taken over.
    Import(ImportArgs),
    /// Divide a range evenly between nodes and print their blocks for cluster.toml. Touches nothing: blocks are written
    /// down there, so that a node that is added later moves none.
    Split(SplitArgs),
}

/// Options of `ipam show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The address.
    pub address: IpAddr,
    /// The form of the output.
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
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam reserve`.
#[derive(Args, Debug)]
pub struct ReserveArgs {
    /// The address.
    pub address: IpAddr,
    /// The pod that gets it, every time it is created: `namespace/name`. Without: nobody gets it.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pod: Option<String>,
    /// The pool that the pod asks for by itself, by its annotation or its network's configuration [default: the pool of
    /// its namespace].
    #[arg(long, value_name = "NAME", requires = "pod")]
    pub pool: Option<String>,
    /// The reason, for `ipam list`.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam unreserve`.
#[derive(Args, Debug)]
pub struct UnreserveArgs {
    /// The address.
    pub address: IpAddr,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam pool`.
#[derive(Args, Debug)]
pub struct PoolArgs {
    /// The command.
    #[command(subcommand)]
    pub command: PoolCommand,
}

/// A command about pools.
#[derive(Subcommand, Debug)]
pub enum PoolCommand {
    /// Every range of every pool, and what its addresses are used for. Exit status 1: there is no such pool.
    Show(PoolShowArgs),
    /// Make a pool, or add ranges, exclusions and namespaces to it; a range that drains is opened again. In a cluster
    /// its ranges are taken out of this node's own blocks. Exit status 1: refused (overlap, unknown block).
    Add(PoolAddArgs),
    /// Give nothing out any more from a pool or one of its ranges; it is gone when its last address was given back.
    Drain(PoolDrainArgs),
}

/// Options of `ipam pool show`.
#[derive(Args, Debug)]
pub struct PoolShowArgs {
    /// The pool; without: all.
    pub name: Option<String>,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam pool add`.
#[derive(Args, Debug)]
pub struct PoolAddArgs {
    /// The pool's name: lower-case letters, digits and `-`.
    pub name: String,
    /// Its ranges.
    #[arg(value_name = "CIDR")]
    pub ranges: Vec<IpNet>,
    /// A part that nobody gets addresses of; may be repeated.
    #[arg(long, value_name = "CIDR")]
    pub exclude: Vec<IpNet>,
    /// A namespace whose pods take their addresses from it; may be repeated.
    #[arg(long)]
    pub namespace: Vec<String>,
    /// True if packets that leave the machine take its address [default: true]. In a cluster the cluster says.
    #[arg(long, value_name = "BOOL")]
    pub masquerade: Option<bool>,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam pool drain`.
#[derive(Args, Debug)]
pub struct PoolDrainArgs {
    /// The pool's name, or one of its ranges.
    #[arg(value_name = "NAME|CIDR")]
    pub pool: String,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The network's data directory, such as /var/lib/cni/networks/NAME.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The network's name in its configuration [default: the directory's name].
    #[arg(long)]
    pub network: Option<String>,
    /// For naru-ipam behind the same main plugin, in place of naru-cni.
    #[arg(long)]
    pub ipam: bool,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `ipam split`.
#[derive(Args, Debug)]
pub struct SplitArgs {
    /// The range, such as 10.32.0.0/12.
    pub range: IpNet,
    /// Between how many nodes.
    #[arg(long)]
    pub nodes: u32,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs `naru ipam`.
pub fn run(paths: &Paths, args: &IpamArgs) -> ExitCode {
    let good = match &args.command {
        IpamCommand::List(output) => list::run(paths, *output).map(|()| true),
        IpamCommand::Show(args) => show::run(paths, args),
        IpamCommand::Check(args) => check::run(paths, args),
        IpamCommand::Reserve(args) => reserve::reserve(paths, args),
        IpamCommand::Unreserve(args) => reserve::unreserve(paths, args),
        IpamCommand::Pool(args) => pool::run(paths, args),
        IpamCommand::Import(args) => import::run(paths, args),
        IpamCommand::Split(args) => split::run(args),
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
