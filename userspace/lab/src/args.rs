//! The command line of `naru lab`.

use clap::{Args, Subcommand, ValueEnum};
use naru_core::cluster;

use crate::layout::LabName;
use naru_bpf::AttachMode;

/// Options of `lab`.
#[derive(Args, Debug)]
pub struct LabArgs {
    /// The command.
    #[command(subcommand)]
    pub command: LabCommand,
}

/// A command about a lab.
#[derive(Subcommand, Debug)]
pub enum LabCommand {
    /// Bring up nodes, an outside host and pods; on failure everything is taken down again.
    Up(UpArgs),
    /// Nodes and pods of a lab. Exit status 1 when there is no such lab.
    Status(StatusArgs),
    /// Run a command in the network namespace of a pod (p1-1), a node (n1) or the outside host (out).
    Exec(ExecArgs),
    /// Remove everything a lab made, also what a killed `up` left behind.
    Down(NameArgs),
}

/// The choice of a lab.
#[derive(Args, Clone, Debug)]
pub struct NameArgs {
    /// Name of the lab: lower-case letters and digits.
    #[arg(long, default_value = "naru", value_name = "NAME")]
    pub lab: LabName,
}

/// Options of `lab up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// The choice of a lab.
    #[command(flatten)]
    pub name: NameArgs,
    /// Number of nodes.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub nodes: u8,
    /// Pods on each node.
    #[arg(long, default_value_t = 2, value_name = "M", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub pods: u16,
    /// Address families of the pods.
    #[arg(long, value_enum, default_value_t = Families::Dual)]
    pub families: Families,
    /// Address families of the nodes; the first one carries the tunnel.
    #[arg(long, value_enum, default_value_t = Underlay::Dual)]
    pub underlay: Underlay,
    /// MTU of the nodes' uplinks, in bytes.
    #[arg(long, default_value_t = 1500, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(1400..=65000))]
    pub mtu: u32,
    /// The routing mode (`routing` of cluster.toml).
    #[arg(long, value_enum, default_value_t = Routing::Auto)]
    pub routing: Routing,
    /// The encapsulation (`encapsulation` of cluster.toml).
    #[arg(long, value_enum, default_value_t = Encapsulation::Auto)]
    pub encapsulation: Encapsulation,
    /// Mode in which programs are attached to the tunnel device and the uplinks.
    #[arg(long, default_value_t, value_name = "auto|tcx|clsact")]
    pub attach: AttachMode,
    /// Run an agent on each node (the default).
    #[arg(long, overrides_with = "no_agent", default_value_t = true)]
    pub agent: bool,
    /// Run no agents.
    #[arg(long)]
    pub no_agent: bool,
    /// Leave everything as it is when something fails, to look at it.
    #[arg(long)]
    pub keep_failed: bool,
}

/// Options of `lab status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The choice of a lab.
    #[command(flatten)]
    pub name: NameArgs,
    /// Print JSON of a stable shape in place of a table.
    #[arg(long)]
    pub json: bool,
}

/// Options of `lab exec`.
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// The choice of a lab.
    #[command(flatten)]
    pub name: NameArgs,
    /// Pod, node or `out`, as `lab status` names them.
    #[arg(value_name = "POD")]
    pub place: String,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Address families of the pods.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    /// IPv4 and IPv6.
    Dual,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Families {
    /// Returns true if pods have IPv4 (`false`) or IPv6 (`true`) addresses.
    pub fn has(self, v6: bool) -> bool {
        self == Self::Dual || (self == Self::V6) == v6
    }
}

/// The routing mode.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// To nodes on the same link: all of a lab.
    Auto,
    /// Never.
    Tunnel,
    /// Always.
    Direct,
}

impl From<Routing> for cluster::Routing {
    fn from(routing: Routing) -> Self {
        match routing {
            Routing::Auto => Self::Auto,
            Routing::Tunnel => Self::Tunnel,
            Routing::Direct => Self::Direct,
        }
    }
}

/// The encapsulation.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulation {
    /// The programs on the uplink, as far as they can.
    Auto,
    /// The vxlan device.
    Device,
}

impl From<Encapsulation> for cluster::Encapsulation {
    fn from(encapsulation: Encapsulation) -> Self {
        match encapsulation {
            Encapsulation::Auto => Self::Auto,
            Encapsulation::Device => Self::Device,
        }
    }
}

/// Address families of the nodes.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Underlay {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both; the tunnel runs over IPv4.
    Dual,
    /// Both; the tunnel runs over IPv6.
    DualV6,
}

impl Underlay {
    /// The families of a node's addresses in their order: `false` is IPv4, `true` IPv6.
    pub fn families(self) -> &'static [bool] {
        match self {
            Self::V4 => &[false],
            Self::V6 => &[true],
            Self::Dual => &[false, true],
            Self::DualV6 => &[true, false],
        }
    }
}
