//! The output of `naru lab status --json`.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

/// A whole lab.
#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Its name.
    pub name: String,
    /// True if `up` has finished.
    pub complete: bool,
    /// MTU of the uplinks, bytes.
    pub mtu: u32,
    /// `routing` of the cluster file.
    pub routing: String,
    /// `encapsulation` of the cluster file.
    pub encapsulation: String,
    /// The host beyond the cluster.
    pub outside: Outside,
    /// Nodes by number.
    pub nodes: Vec<Node>,
    /// Pods by node, then number.
    pub pods: Vec<Pod>,
}

/// The host beyond the cluster.
#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Outside {
    /// Its namespace.
    pub netns: String,
    /// Its addresses on the nodes' network.
    pub underlay: Vec<IpAddr>,
    /// Addresses that see pods' packets with the node's address.
    pub addresses: Vec<IpAddr>,
    /// Addresses that see pods' packets with the pod's own address.
    pub listed: Vec<IpAddr>,
}

/// A node.
#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub netns: String,
    /// Its addresses; the first one carries the tunnel.
    pub addresses: Vec<IpAddr>,
    /// Its blocks.
    pub blocks: Vec<IpNet>,
    /// Parent of its directories.
    pub root: PathBuf,
    /// Process of its agent, if one runs.
    pub agent_pid: Option<i32>,
    /// The boot id that its binaries are given; the kernel's own if `None`.
    #[serde(skip)]
    pub boot_id: Option<String>,
}

/// A pod.
#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name, `p<node>-<number>`.
    pub name: String,
    /// Its node's name.
    pub node: String,
    /// Its namespace.
    pub netns: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}
