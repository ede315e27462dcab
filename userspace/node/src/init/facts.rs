use std::{io::ErrorKind, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::InitError;
use crate::paths::Paths;

/// What init found and set for this boot, as attachments of pods need it; `<run>/node.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The boot these facts hold for.
    pub boot_id: String,
    /// Layout version of maps and pins.
    pub abi: u32,
    /// This node's name.
    pub node: String,
    /// Those of this node's addresses that the machine has, its underlay address first; what pods see as source of the node's own packets.
    pub addresses: Vec<IpAddr>,
    /// Blocks that pods without a `subnet` in their configuration take addresses from (the cluster's).
    pub blocks: Vec<IpNet>,
    /// The `subnet` lists of network configurations (standalone); each is a pool of its own in the store.
    pub subnets: Vec<Vec<IpNet>>,
    /// MTU of a pod's interface unless the configuration says otherwise.
    pub pod_mtu: u32,
}

impl NodeFacts {
    /// The facts as init left them, of whichever boot; `None` when there are none or another version wrote them.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn load(paths: &Paths) -> Result<Option<Self>, InitError> {
        let path = paths.node_facts();
        match std::fs::read(&path) {
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(InitError::file(path, "read")(error)),
        }
    }

    /// This node's address of the family of `pod`: the source of the kernel route to it.
    #[must_use]
    pub fn source_for(&self, pod: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == pod.is_ipv4())
    }

    /// Whether the node serves this list of subnets; an empty one means the node's blocks.
    #[must_use]
    pub fn serves(&self, subnets: &[IpNet]) -> bool {
        if subnets.is_empty() {
            !self.blocks.is_empty()
        } else {
            self.subnets.iter().any(|own| own == subnets)
        }
    }
}

/// Name of the pool in domain `naru` that init keeps for a list of subnets, or for the node's blocks when the
/// list is empty: what an attachment asks the store for.
#[must_use]
pub fn pool_name(subnets: &[IpNet]) -> String {
    if subnets.is_empty() {
        return "node".to_owned();
    }
    let names: Vec<String> = subnets.iter().map(ToString::to_string).collect();
    names.join(",")
}
