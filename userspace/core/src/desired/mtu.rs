use std::{collections::BTreeMap, net::IpAddr};

use crate::cluster::ClusterSpec;

/// MTU of an underlay that nothing is known of: plain Ethernet.
pub const FALLBACK_MTU: u32 = 1500;

/// Bytes that the tunnel adds to a pod's IP packet: outer IP, UDP, VXLAN and inner Ethernet header (RFC 7348).
#[must_use]
pub const fn overhead(underlay: IpAddr) -> u32 {
    if underlay.is_ipv4() { 50 } else { 70 }
}

/// The largest IP packet of a pod that reaches the node whose tunnel ends at `underlay`.
#[must_use]
pub fn path_mtu(underlay: IpAddr, device_mtu: Option<u32>) -> u32 {
    device_mtu.unwrap_or(FALLBACK_MTU).saturating_sub(overhead(underlay))
}

/// MTU of this node's pods: what fits every path, so that a pod seldom learns of a smaller one.
///
/// Without remote nodes it is the uplink's, less the tunnel's share where the cluster names this node.
#[must_use]
pub fn pod_mtu(
    cluster: &ClusterSpec,
    node: &str,
    underlay_mtu: &BTreeMap<IpAddr, u32>,
    uplink_mtu: Option<u32>,
) -> u32 {
    let paths = cluster.remotes(node).filter_map(|remote| {
        let underlay = remote.underlay()?;
        Some(path_mtu(underlay, underlay_mtu.get(&underlay).copied()))
    });
    let own = cluster.node(node).and_then(crate::cluster::NodeSpec::underlay);
    let alone = own.map_or(uplink_mtu.unwrap_or(FALLBACK_MTU), |own| path_mtu(own, uplink_mtu));
    paths.min().unwrap_or(alone)
}
