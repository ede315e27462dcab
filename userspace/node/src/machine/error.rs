use std::{net::IpAddr, path::PathBuf};

use naru_core::overlap::Clash;
use naru_netlink::links::LinkError;
use naru_store::{StoreError, lock_file::LIMIT};

use crate::host::HostError;

/// The reasons for which this machine could not be made a node, or the node not be as it should.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Neither a cluster nor a subnet is known.
    #[error(
        "this node is not initialised: no cluster was accepted yet and the configuration names no subnet: \
         run naru init here with a cluster file (or --subnet), or name a subnet in the configuration's ipam"
    )]
    NotConfigured,
    /// The cluster has the node, but no block for it.
    #[error("the cluster gives node {node} no pod range: no address is given out until it does")]
    NoRange {
        /// The node.
        node: String,
    },
    /// The node has not heard of its cluster for longer than its administrator allows.
    #[error(
        "node {node} has not heard of its cluster for {without} s, and contact_limit is {limit} s: no address is given \
         out until it does"
    )]
    OutOfContact {
        /// The node.
        node: String,
        /// Seconds without contact.
        without: u64,
        /// The limit, in seconds.
        limit: u64,
    },
    /// Init has not run since the machine was started.
    #[error("this node is not initialised in this boot: run naru init")]
    NotReady,
    /// The cluster names other nodes only.
    #[error("the cluster has no node {node}; it has {known}: set --node or NARU_NODE")]
    UnknownNode {
        /// The name looked for.
        node: String,
        /// The names there are.
        known: String,
    },
    /// Pod ranges that are in use elsewhere; nothing was changed.
    #[error("{}", joined(.0))]
    Overlap(Vec<Clash>),
    /// The kernel or the machine lacks something; nothing was changed.
    #[error("this machine lacks {}", .0.join(", "))]
    MissingFeatures(Vec<String>),
    /// The process may not use eBPF; nothing was changed.
    #[error(
        "eBPF is not permitted to this process: it has no {}: run it as root, or with these capabilities",
        .0.join(", ")
    )]
    NotPermitted(Vec<&'static str>),
    /// The cluster says that this machine has an address, but no interface of it has.
    #[error(
        "node {node}: none of its addresses is on this machine (first: {first}){}: correct the cluster file, or name \
         this machine's own node by --node or NARU_NODE (on a copy of another node's disk after naru uninstall \
         --force)",
        of_other(other.as_ref())
    )]
    NotThisMachine {
        /// The node.
        node: String,
        /// Its first address.
        first: IpAddr,
        /// Another node of the cluster one of whose addresses is here.
        other: Option<(String, IpAddr)>,
    },
    /// The state was made on another machine, of whose disk this machine's is a copy.
    #[error(
        "node {node}: its state was made on another machine ({difference}): on a copy of that machine run naru \
         uninstall --force, then naru init; where this machine takes its place (installed anew, or with other \
         hardware), naru init --new-machine"
    )]
    OtherMachine {
        /// The node.
        node: String,
        /// The identities.
        difference: String,
    },
    /// A pool that is impossible, or not possible as requested; nothing was changed.
    #[error("pool {pool}: {why}")]
    Pool {
        /// The pool.
        pool: String,
        /// The reason.
        why: String,
    },
    /// A network configuration asks for addresses of another network; nothing was changed.
    #[error("network {network}: {why}")]
    Network {
        /// The network.
        network: String,
        /// The reason.
        why: String,
    },
    /// The network namespace that the process is in cannot be told.
    #[error("{0}")]
    Namespace(String),
    /// The node's files belong to another network namespace, which still exists: two nodes need directories of their
    /// own.
    #[error(
        "{}: belongs to a node in another network namespace, which still exists: name other directories (--run-dir and \
         the others), or end that one first",
        run.display()
    )]
    OtherNamespace {
        /// The run directory.
        run: PathBuf,
    },
    /// An object that init makes is wrong, and repairing it did not help.
    #[error("this node is not ready: {0}")]
    NotAsMade(String),
    /// The programs' maps are too small for what they should hold; nothing was changed.
    #[error("{count} {what}, and the programs have room for {room}: what was in force stays")]
    NoRoom {
        /// Kind of the entries that do not fit.
        what: &'static str,
        /// Number of entries wanted.
        count: usize,
        /// Number of entries that the maps can hold.
        room: u32,
    },
    /// Nobody made a pool of that name.
    #[error("pool {pool}: not on this node; its pools: {}", none_or(known))]
    NoPool {
        /// The name.
        pool: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Another process has a lock and keeps it.
    #[error("{}: another process has kept this lock for {} seconds", path.display(), LIMIT.as_secs())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// Pods are attached.
    #[error("{count} pods are attached, {first} among them: remove them first, or use --force")]
    PodsAttached {
        /// The number.
        count: usize,
        /// The first one.
        first: String,
    },
    /// The node's agent runs, and would restore what uninstall removes.
    #[error("naru agent is running (pid {pid}); stop it first")]
    AgentRuns {
        /// Its process id.
        pid: String,
    },
    /// A process that is no agent has locked the agent's file.
    #[error("{}: locked by a process that is no naru agent (`fuser -v` names it): end it first", path.display())]
    LockedByOther {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer naru left something here; nothing was changed.
    #[error(
        "{}: {what} {found} was made by a newer naru; this one knows {known}: \
         use the newer one, or run its naru uninstall first",
        path.display()
    )]
    Newer {
        /// The path that it left behind.
        path: PathBuf,
        /// `ABI` or `format`.
        what: &'static str,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A file of ours could not be read or written.
    #[error("{}: {action}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of ours has invalid contents.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The error in it.
        source: serde_json::Error,
    },
    /// The settings of the last init cannot be read.
    #[error(
        "{}: damaged ({why}), so this node's settings are lost: run naru init with its options to set the file aside \
         and start over, or naru uninstall --force to remove the node",
        path.display()
    )]
    DamagedSettings {
        /// The file.
        path: PathBuf,
        /// The damage.
        why: String,
    },
    /// Parts of a node exist, but no notes about the machine before it.
    #[error(
        "{}: missing, though this machine has {}: run naru uninstall --force to remove all of that; settings of the \
         machine that init changed stay as they are",
        store.display(),
        found.join(", ")
    )]
    NoNotes {
        /// The store of the notes.
        store: PathBuf,
        /// The parts of a node that are there.
        found: Vec<String>,
    },
    /// Several changes were refused; the others were made.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// Links, routes, rules.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// Maps and programs.
    #[error(transparent)]
    Datapath(#[from] naru_bpf::Error),
    /// Sysctls, mounts, firewalls, files.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The stores.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pods that live in the kernel could not be taken over.
    #[error("pods: {0}")]
    Pods(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl MachineError {
    /// Returns true if trying again later may help without a change of this node's configuration (CNI error 11).
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::Overlap(_)
                | Self::MissingFeatures(_)
                | Self::UnknownNode { .. }
                | Self::Content { .. }
                | Self::Pool { .. }
                | Self::Network { .. }
                | Self::OtherNamespace { .. }
                | Self::NoPool { .. }
        )
    }

    /// For `map_err` of a file access.
    pub(crate) fn file(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, action, source }
    }
}

fn of_other(other: Option<&(String, IpAddr)>) -> String {
    other.map(|(node, address)| format!(", but {address} of node {node} is")).unwrap_or_default()
}

fn none_or(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

fn joined(clashes: &[Clash]) -> String {
    let lines: Vec<String> = clashes.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
