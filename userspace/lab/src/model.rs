//! The description of a lab: written to its directory by `up`, printed by `lab status --json`.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context;
use ipnet::IpNet;
use naru_core::cluster::{Encapsulation, Routing};
use serde::{Deserialize, Serialize};

use crate::layout::LabName;

/// A whole lab.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// True if `up` has finished.
    pub complete: bool,
    /// MTU of the uplinks, bytes.
    pub mtu: u32,
    /// The routing mode.
    #[serde(default)]
    pub routing: Routing,
    /// The encapsulation.
    #[serde(default)]
    pub encapsulation: Encapsulation,
    /// Cluster ranges the blocks are cut from.
    pub ranges: Vec<IpNet>,
    /// The host beyond the cluster.
    pub outside: Outside,
    /// Nodes by number.
    pub nodes: Vec<Node>,
    /// Pods by node, then number.
    pub pods: Vec<Pod>,
}

/// The host beyond the cluster.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Outside {
    /// Its namespace.
    pub netns: String,
    /// Its addresses on the nodes' network, which are the nodes' gateways.
    pub underlay: Vec<IpAddr>,
    /// Addresses behind it: pods reach them with their node's address.
    pub addresses: Vec<IpAddr>,
    /// Addresses behind it that are listed for no masquerade: pods reach them with their own.
    pub listed: Vec<IpAddr>,
    /// The prefixes of `listed`.
    pub no_masquerade: Vec<IpNet>,
}

/// A node.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name in cluster.toml.
    pub name: String,
    /// Its namespace.
    pub netns: String,
    /// Its addresses; the first one carries the tunnel.
    pub addresses: Vec<IpAddr>,
    /// Its blocks.
    pub blocks: Vec<IpNet>,
    /// Parent of its directories.
    pub root: PathBuf,
    /// True if an agent was started on it.
    pub agent: bool,
    /// Process of the agent that runs now, if any; filled when the lab is looked at.
    #[serde(default)]
    pub agent_pid: Option<i32>,
}

/// A pod.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name, `p<node>-<number>`.
    pub name: String,
    /// Its node's name.
    pub node: String,
    /// Its namespace.
    pub netns: String,
    /// `CNI_CONTAINERID` of its attachment.
    pub container_id: String,
    /// Its addresses, from the result of ADD.
    pub addresses: Vec<IpAddr>,
    /// The result of ADD.
    #[serde(default)]
    pub result: serde_json::Value,
}

impl Lab {
    /// The description `up` has left.
    pub fn load(name: &LabName) -> anyhow::Result<Self> {
        let path = name.description();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                anyhow::bail!("lab {name}: not up; `naru lab up --lab {name}` makes one")
            }
            Err(error) => return Err(error).with_context(|| format!("lab {name}: read {}", path.display())),
        };
        serde_json::from_slice(&text).with_context(|| format!("lab {name}: {}", path.display()))
    }

    /// Leaves the description for later commands.
    pub fn save(&self, name: &LabName) -> anyhow::Result<()> {
        let path = name.description();
        let fresh = path.with_extension("json.new");
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .with_context(|| format!("lab {name}: write {}", path.display()))
    }
}
