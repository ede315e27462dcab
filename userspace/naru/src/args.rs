//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use naru_bpf::AttachMode;
use naru_node::paths::{GivenPaths, Paths};

use crate::report::OutputArgs;

/// Pod networking in the kernel: prepare a node, follow the cluster, show the state of a node.
#[derive(Parser, Debug)]
#[command(name = "naru", version, arg_required_else_help = true)]
pub struct Arguments {
    /// The node's directories.
    #[command(flatten)]
    pub directories: Directories,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The directories of the node a command works on; each has an environment variable and a default.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Directories")]
pub struct Directories {
    /// State that dies with the kernel: leases, lock [env: NARU_RUN_DIR] [default: /run/naru].
    #[arg(long, global = true, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// State that survives a reboot: identity, undo journal [env: NARU_STATE_DIR] [default: /var/lib/naru].
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Pins of maps and programs [env: NARU_BPF_DIR] [default: RUN_DIR/bpf].
    #[arg(long, global = true, value_name = "DIR")]
    pub bpf_dir: Option<PathBuf>,
    /// cluster.toml [env: NARU_CONFIG_DIR] [default: /etc/naru].
    #[arg(long, global = true, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Network configurations of the container runtime [env: NARU_CNI_CONF_DIR] [default: /etc/cni/net.d].
    #[arg(long, global = true, value_name = "DIR")]
    pub cni_conf_dir: Option<PathBuf>,
    /// Plugins of the container runtime [env: NARU_CNI_BIN_DIR] [default: /opt/cni/bin].
    #[arg(long, global = true, value_name = "DIR")]
    pub cni_bin_dir: Option<PathBuf>,
}

impl Directories {
    /// The directories by flag, environment or default, in this order.
    pub fn paths(&self) -> Paths {
        Paths::new(self.given())
    }

    /// The directories by flag.
    pub fn given(&self) -> GivenPaths {
        GivenPaths {
            run: self.run_dir.clone(),
            state: self.state_dir.clone(),
            bpf: self.bpf_dir.clone(),
            config: self.config_dir.clone(),
            cni_conf: self.cni_conf_dir.clone(),
            cni_bin: self.cni_bin_dir.clone(),
        }
    }
}

/// The command.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Prepare this machine: probes, programs and maps, tunnel device, nftables, sysctls, configuration for the
    /// runtime. Changes nothing when run again.
    Init(InitArgs),
    /// `init`, then follow cluster.toml or the Kubernetes API and repair what others change, until SIGTERM; traffic
    /// does not need it.
    Agent(AgentArgs),
    /// Show the node's state, counters and faults. Exit status 1 if it is not initialised.
    Status(OutputArgs),
    /// Entries of ROUTES with the kernel route of each.
    Routes(OutputArgs),
    /// Entries of FLOWS: packets that must take the node's stack, which translates their flow.
    Flows(OutputArgs),
    /// Entries of PODS: every pod address of this node.
    Endpoints(OutputArgs),
    /// Packets and bytes by hook and outcome, and by pod.
    Stats(OutputArgs),
    /// Addresses of this node. Exit status 0: done, or nothing found; 1: something found, or refused in the current
    /// state; 2: an error.
    Ipam(crate::command::ipam::IpamArgs),
    /// Put the plugins where the container runtime looks for them, as its own configuration says; files that are up to
    /// date are not written again.
    Install(InstallArgs),
    /// The nodes of the cluster, as this node or the Kubernetes API knows them.
    Node(crate::command::node::NodeArgs),
    /// The cluster as a whole. Exit status 0: nothing found; 1: something found; 2: an error.
    Cluster(crate::command::cluster::ClusterArgs),
    /// NetworkPolicies: what they isolate, who can reach a pod, what a change would cut.
    Policy(crate::command::policy::PolicyArgs),
    /// Services as the datapath translates them, and why some are left to the stack.
    Service(crate::command::service::ServiceArgs),
    /// Undo init exactly.
    Uninstall(UninstallArgs),
    /// Measure traffic, programs, plugins and memory beside others, in namespaces. Exit status 1 if a gate is missed.
    #[cfg(feature = "bench")]
    Bench(naru_bench::BenchArgs),
    /// A cluster of network namespaces on this machine.
    #[cfg(feature = "lab")]
    Lab(naru_lab::LabArgs),
}

impl Command {
    /// Returns true if the command only prints, so that it may end when its reader is gone. The others have something
    /// to take down first.
    pub const fn ends_with_its_reader(&self) -> bool {
        match self {
            Self::Agent(_) => false,
            #[cfg(feature = "bench")]
            Self::Bench(_) => false,
            #[cfg(feature = "lab")]
            Self::Lab(_) => false,
            _ => true,
        }
    }
}

/// Options of `init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// This node's name in cluster.toml; the hostname by default. Kept for later runs.
    #[arg(long, env = "NARU_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Mode in which programs are attached to the tunnel device; kept for later runs.
    #[arg(long, value_name = "auto|tcx|clsact")]
    pub attach: Option<AttachMode>,
    /// Subnet for the pods of a single machine without cluster.toml; may be repeated (one a family).
    #[arg(long, value_name = "CIDR")]
    pub subnet: Vec<IpNet>,
    /// Range of Service addresses, which pods must not use; may be repeated.
    #[arg(long, value_name = "CIDR")]
    pub service_range: Vec<IpNet>,
    /// Accept pod ranges in which addresses, links or routes of this machine lie: hosts with these addresses are then
    /// out of this node's reach. Kept for later runs. In a network configuration: `"naru": {"allowOverlap": true}`.
    #[arg(long)]
    pub allow_overlap: bool,
    /// A directory in which host-local keeps the addresses of a network whose place this one takes: those of live
    /// containers are taken over before the runtime sees naru's configuration, and what that network has of the pod
    /// range counts as no overlap. May be repeated; a directory that does not exist is left out.
    #[arg(long, env = "NARU_IMPORT", value_name = "DIR", value_delimiter = ',')]
    pub import: Vec<PathBuf>,
    /// Propose no other range when a pod range overlaps something: ranges are not a free choice (podCIDRs of
    /// Kubernetes). Kept for later runs.
    #[arg(long)]
    pub fixed_ranges: bool,
    /// Let this machine replace the one that the node's state was made on: it was reinstalled with its state kept, or
    /// has other hardware. Without this flag such a state counts as a copy of another node's disk and is refused.
    #[arg(long)]
    pub new_machine: bool,
    /// Capacity of the map FLOWS in entries: one for each connection of a pod that a Service or host port translates,
    /// and one for each pair of hosts. Kept for later runs; takes effect when the map is created.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=4_194_304))]
    pub max_flows: Option<u32>,
    /// The cluster file, in place of CONFIG_DIR/cluster.toml.
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
    /// Leave the runtime's configuration directory alone.
    #[arg(long)]
    pub no_conflist: bool,
}

/// Options of `agent`.
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// As for `init`.
    #[command(flatten)]
    pub init: InitArgs,
    /// Seconds between two passes when nothing happens.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub interval: u64,
    /// Follow the Kubernetes API instead of cluster.toml: nodes are Node objects, blocks their podCIDRs. The name of
    /// this node's object is --node.
    #[arg(long)]
    pub kubernetes: bool,
    /// An address of the Kubernetes API, tried before those that are found; may be repeated.
    #[arg(long, requires = "kubernetes", env = "NARU_API_SERVER", value_name = "URL", value_delimiter = ',')]
    pub api_server: Vec<String>,
    /// Credentials for the Kubernetes API outside a pod.
    #[arg(long, requires = "kubernetes", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The cluster's settings beside its Node objects: the keys of cluster.toml except its nodes. Without the file,
    /// every setting has its default [default: CONFIG_DIR/settings.toml].
    #[arg(long, requires = "kubernetes", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// The host's root directory, for an agent in a container; all paths except those of the credentials and of
    /// --settings are below it.
    #[arg(long, requires = "kubernetes", value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Query the agent that runs here instead of starting one. Exit status 0: yes; 1: no, or no agent answers.
    #[arg(long, value_name = "live|ready", conflicts_with = "kubernetes")]
    pub probe: Option<Probe>,
}

/// A question to the agent that runs here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Probe {
    /// The agent works, with or without the cluster's source.
    Live,
    /// Pods get addresses here.
    Ready,
}

/// Options of `install`.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// The host's root directory, for a process in a container; all other paths are below it.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The directory of the plugins to install; this program's by default.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
}

/// Options of `uninstall`.
#[derive(Args, Debug)]
pub struct UninstallArgs {
    /// Detach running pods instead of refusing.
    #[arg(long)]
    pub force: bool,
    /// Remove 05-naru.conflist even if somebody changed it since init wrote it: as long as it exists, the runtime calls
    /// naru-cni.
    #[arg(long)]
    pub remove_conflist: bool,
}
