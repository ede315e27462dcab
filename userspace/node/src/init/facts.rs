use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What init found and set for this boot, as attachments of pods need it; `<run>/node.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The boot these facts hold for.
    pub boot_id: String,
    /// Layout version of maps and pins.
    pub abi: u32,
    /// This node's name.
    pub node: String,
    /// This node's addresses, its underlay address first; what pods see as source of the node's own packets.
    pub addresses: Vec<IpAddr>,
    /// Blocks that pods without a `subnet` in their configuration take addresses from (the cluster's).
    pub blocks: Vec<IpNet>,
    /// Subnets of network configurations that no block holds (standalone); ours as well.
    pub subnets: Vec<IpNet>,
    /// MTU of a pod's interface unless the configuration says otherwise.
    pub pod_mtu: u32,
}

impl NodeFacts {
    /// This node's address of the family of `pod`: the source of the kernel route to it.
    #[must_use]
    pub fn source_for(&self, pod: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == pod.is_ipv4())
    }

    /// Whether every one of `subnets` lies in a block or subnet of this node.
    #[must_use]
    pub fn covers(&self, subnets: &[IpNet]) -> bool {
        let own = || self.blocks.iter().chain(&self.subnets);
        subnets.iter().all(|subnet| own().any(|block| block.contains(subnet)))
    }
}
