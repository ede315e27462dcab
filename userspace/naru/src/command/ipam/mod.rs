//! `naru ipam`: shows and changes the addresses of this node.
//!
//! Exit status of each command: 0 done, or nothing found; 1 something found, or refused in the current state; 2 an
//! error (of use, of the node, of a file).

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

/// Exit status if something was found, or refused in the current state.
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
    /// Everything about one address: state, owner, pool, and the kernel's state. Exit status 1: it is in no pool and
    /// not in use.
    Show(ShowArgs),
    /// Compare the store with veths, namespaces, map entries and routes. Exit status 0: clean, 1: findings (that
    /// remain).
    Check(CheckArgs),
    /// Keep an address from everybody, or for one pod, over re-creation and reboot. Exit status 1: it is in use, in no
    /// pool, or in a pool that this pod does not use.
    Reserve(ReserveArgs),
    /// End a reservation. Exit status 1: there is none.
    Unreserve(UnreserveArgs),
    /// Pools with a name, for network configurations, pods and namespaces that ask for them.
    Pool(PoolArgs),
    /// Take over addresses that host-local gave to running containers, without touching the containers; addresses of
    /// dead ones are left out. Exit status 1: an address could not be taken over.
    Import(ImportArgs),
    /// Divide a range evenly between nodes and print their blocks for cluster.toml. Changes nothing: blocks are fixed
    /// in that file, so that a node that is added later moves none.
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
    /// Repair as the reconciler does: add what is missing at once, and remove what is left over after a second look,
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
    /// The pod that gets the address, every time it is created: `namespace/name`. Without a pod, nobody gets it.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pod: Option<String>,
    /// The pool that the pod requests itself, by its annotation or its network's configuration [default: the pool of
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
    /// Every range of every pool, and the use of its addresses. Exit status 1: there is no such pool.
    Show(PoolShowArgs),
    /// Make a pool, or add ranges, exclusions and namespaces to it; a draining range is used again. In a cluster its
    /// ranges are taken from this node's own blocks. Exit status 1: refused (overlap, unknown block).
    Add(PoolAddArgs),
    /// Assign no more addresses from a pool or from one of its ranges, which is removed when its last address is free.
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
    /// A part from which no addresses are assigned; may be repeated.
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
    /// Import for naru-ipam with the same main plugin, instead of naru-cni.
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
            errln!("naru: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
