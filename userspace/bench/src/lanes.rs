//! The lanes of traffic: every candidate and baseline by its name in tables.

use crate::{
    binaries::Binaries,
    hosts::{self, Bridge, Naru, Pair, Path, Reach, Wire},
    load::Load,
    site::Site,
};

/// Two namespaces joined by one veth pair.
pub const VETH: &str = "veth";
/// The reference bridge plugin with the rules of kube-proxy.
pub const BRIDGE_RULES: &str = "bridge+nf";
/// A bridge on each node, joined by a vxlan device.
pub const FLANNEL: &str = "flannel";
/// The same with the rules of kube-proxy.
pub const FLANNEL_RULES: &str = "flannel+nf";
/// A bridge on each node, joined by routes.
pub const HOST_GATEWAY: &str = "host-gw";
/// naru between pods of one node.
pub const SAME_NODE: &str = "naru, same node";
/// The same with the rules of kube-proxy on the node.
pub const SAME_NODE_RULES: &str = "naru+nf, same node";
/// naru between nodes, through the vxlan device.
pub const DEVICE: &str = "naru, device";
/// naru between nodes, in the tunnel by its own programs.
pub const OWN: &str = "naru, own encapsulation";
/// The same with the rules of kube-proxy on the nodes.
pub const OWN_RULES: &str = "naru+nf, own encapsulation";
/// naru between nodes, without a tunnel.
pub const DIRECT: &str = "naru, direct";
/// flannel over a wire with receive offload.
pub const FLANNEL_WIRE: &str = "flannel, wire";
/// flannel over a wire without.
pub const FLANNEL_PLAIN_WIRE: &str = "flannel, wire without GRO";
/// naru through the vxlan device over a wire with receive offload.
pub const DEVICE_WIRE: &str = "naru, device, wire";
/// naru through the vxlan device over a wire without.
pub const DEVICE_PLAIN_WIRE: &str = "naru, device, wire without GRO";
/// naru's own encapsulation over a wire with receive offload.
pub const OWN_WIRE: &str = "naru, own encapsulation, wire";
/// naru's own encapsulation over a wire without.
pub const OWN_PLAIN_WIRE: &str = "naru, own encapsulation, wire without GRO";

/// Two pods, and what lies between them.
#[derive(Clone, Debug)]
pub struct Lane {
    /// One of the names above.
    pub name: &'static str,
    /// The pods.
    pub pair: Pair,
    /// Namespaces of the two nodes, if there are two.
    pub nodes: Vec<String>,
    /// What their uplinks behave as.
    pub wire: Option<Wire>,
}

impl Lane {
    /// Whether the lane is measured under `load`: over a wire only streams differ.
    #[must_use]
    pub fn carries(&self, load: Load) -> bool {
        self.wire.is_none() || load == Load::Stream
    }

    fn plain(name: &'static str, pair: Pair, nodes: Vec<String>) -> Self {
        Self { name, pair, nodes, wire: None }
    }

    fn over(&self, name: &'static str, wire: Wire) -> Self {
        Self { name, wire: Some(wire), ..self.clone() }
    }
}

/// Builds those that `wanted` asks for.
///
/// # Errors
/// The kernel or a binary refuses.
pub fn build(site: &Site, binaries: &Binaries, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    if wanted(VETH) {
        lanes.push(Lane::plain(VETH, hosts::veth(site)?, Vec::new()));
    }
    let vxlan = Some(Reach::Vxlan);
    for (names, name, reach, rules) in [
        (&[BRIDGE_RULES][..], "bridge", None, true),
        (&[FLANNEL, FLANNEL_WIRE, FLANNEL_PLAIN_WIRE], "flannel", vxlan, false),
        (&[FLANNEL_RULES], "flannelnf", vxlan, true),
        (&[HOST_GATEWAY], "hostgw", Some(Reach::Gateway), false),
    ] {
        if names.iter().any(|name| wanted(name)) {
            let built = Bridge { name, reach, rules }.build(site, binaries)?;
            lanes.push(Lane::plain(names[0], built.pair, built.nodes));
        }
    }
    for (names, same_node, name, path, rules) in [
        (&[DEVICE, DEVICE_WIRE, DEVICE_PLAIN_WIRE][..], None, "device", Path::Device, false),
        (&[OWN, OWN_WIRE, OWN_PLAIN_WIRE], Some(SAME_NODE), "own", Path::Own, false),
        (&[OWN_RULES], Some(SAME_NODE_RULES), "ownnf", Path::Own, true),
        (&[DIRECT], None, "direct", Path::Direct, false),
    ] {
        if names.iter().copied().chain(same_node).any(wanted) {
            let built = Naru { name, path, rules }.build(site, binaries)?;
            lanes.extend(same_node.map(|lane| Lane::plain(lane, built.same_node, Vec::new())));
            lanes.push(Lane::plain(names[0], built.cross_node, built.nodes));
        }
    }
    add_wires(&mut lanes);
    lanes.retain(|lane| wanted(lane.name));
    Ok(lanes)
}

/// The same nodes over a wire.
fn add_wires(lanes: &mut Vec<Lane>) {
    for (of, merging, plain) in [
        (FLANNEL, FLANNEL_WIRE, FLANNEL_PLAIN_WIRE),
        (DEVICE, DEVICE_WIRE, DEVICE_PLAIN_WIRE),
        (OWN, OWN_WIRE, OWN_PLAIN_WIRE),
    ] {
        if let Some(lane) = lanes.iter().find(|lane| lane.name == of).cloned() {
            lanes.push(lane.over(merging, Wire::Merging));
            lanes.push(lane.over(plain, Wire::Plain));
        }
    }
}
