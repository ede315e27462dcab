//! The lanes of traffic: every candidate and baseline by its name in tables.

use naru_sandbox::kube_proxy::Proxy;

use crate::{
    binaries::Binaries,
    hosts::{self, Bridge, Naru, Pair, Path, Policies, Reach, Services, Translator, Wire},
    load::Load,
    site::Site,
};

/// Two namespaces joined by one veth pair.
pub const VETH: &str = "veth";
/// The reference bridge plugin with the rules of kube-proxy.
pub const BRIDGE_RULES: &str = "bridge+nf";
/// A bridge on each node, joined by a vxlan device.
pub const FLANNEL: &str = "flannel";
/// A bridge on each node, joined by a vxlan device, with the rules of kube-proxy.
pub const FLANNEL_RULES: &str = "flannel+nf";
/// A bridge on each node, joined by routes.
pub const HOST_GATEWAY: &str = "host-gw";
/// naru between pods of one node.
pub const SAME_NODE: &str = "naru, same node";
/// naru between pods of one node that has the rules of kube-proxy.
pub const SAME_NODE_RULES: &str = "naru+nf, same node";
/// naru between nodes, through the vxlan device.
pub const DEVICE: &str = "naru, device";
/// naru between nodes, in the tunnel by its own programs.
pub const OWN: &str = "naru, own encapsulation";
/// naru's own encapsulation between nodes that have the rules of kube-proxy.
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

/// The pair over IPv6.
pub const VETH_V6: &str = "veth, IPv6";
/// flannel's vxlan device with pods of IPv6.
pub const FLANNEL_V6: &str = "flannel, IPv6";
/// Routes between the nodes with pods of IPv6.
pub const HOST_GATEWAY_V6: &str = "host-gw, IPv6";
/// naru between pods of one node over IPv6.
pub const SAME_NODE_V6: &str = "naru, same node, IPv6";
/// naru's own encapsulation of IPv6.
pub const OWN_V6: &str = "naru, own encapsulation, IPv6";
/// naru between nodes over IPv6, without a tunnel.
pub const DIRECT_V6: &str = "naru, direct, IPv6";

/// naru between pods of one node through a Service, one of 10,000.
pub const SERVICE: &str = "naru, same node, Service";
/// naru between nodes through a Service, one of 10,000.
pub const SERVICE_FAR: &str = "naru, own encapsulation, Service";
/// kube-proxy's rules on a node of naru, with so many Services.
pub const PROXIES: [(&str, Proxy, u32); 6] = [
    ("kube-proxy iptables, 10 Services", Proxy::Iptables, 10),
    ("kube-proxy iptables, 1,000 Services", Proxy::Iptables, 1_000),
    ("kube-proxy iptables, 10,000 Services", Proxy::Iptables, 10_000),
    ("kube-proxy nftables, 10 Services", Proxy::Nftables, 10),
    ("kube-proxy nftables, 1,000 Services", Proxy::Nftables, 1_000),
    ("kube-proxy nftables, 10,000 Services", Proxy::Nftables, 10_000),
];
/// Services of naru's lanes, beside the measured ones.
const SERVICES: u32 = 10_000;

/// naru between pods of one node that policies isolate in both directions.
pub const POLICY: &str = "naru, same node, policies";
/// naru between such pods of two nodes.
pub const POLICY_FAR: &str = "naru, own encapsulation, policies";
/// Policies of each pod.
const POLICIES: u32 = 10;

/// Returns true if the lane takes minutes to make: `iptables-restore` and `nft` read that many rules slowly.
pub fn takes_minutes(lane: &str) -> bool {
    PROXIES.iter().any(|(name, _, count)| *name == lane && *count >= SERVICES)
}

/// The lanes that are also measured with two CPUs.
const ON_TWO: [&str; 6] = [VETH, FLANNEL, HOST_GATEWAY, SAME_NODE, OWN, DIRECT];

/// Two pods, and what lies between them.
#[derive(Clone, Debug)]
pub struct Lane {
    /// One of the names above.
    pub name: &'static str,
    /// The pods.
    pub pair: Pair,
    /// Namespaces of the two nodes, if there are two.
    pub nodes: Vec<String>,
    /// The wire that their uplinks imitate, if any.
    pub wire: Option<Wire>,
    loads: &'static [Load],
}

impl Lane {
    /// Returns true if the lane is measured under `load`.
    #[must_use]
    pub fn carries(&self, load: Load) -> bool {
        self.loads.contains(&load)
    }

    fn plain(name: &'static str, pair: Pair, nodes: Vec<String>) -> Self {
        let loads: &[Load] = if ON_TWO.contains(&name) { &Load::ALL } else { &Load::ON_ONE };
        Self { name, pair, nodes, wire: None, loads }
    }

    /// Over a wire only streams differ.
    fn over(&self, name: &'static str, wire: Wire) -> Self {
        Self { name, wire: Some(wire), loads: &[Load::Stream], ..self.clone() }
    }

    /// This lane with the pods' IPv6 addresses; one load shows whether the families differ.
    fn in_v6(&self, name: &'static str) -> Option<Self> {
        let pair = Pair { address: self.pair.v6?, ..self.pair.clone() };
        Some(Self { name, pair, loads: &[Load::TcpRr], ..self.clone() })
    }
}

/// Builds those that `wanted` asks for.
///
/// # Errors
/// The kernel or a binary refuses.
pub fn build(site: &Site, binaries: &Binaries, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    if [VETH, VETH_V6].into_iter().any(wanted) {
        lanes.push(Lane::plain(VETH, hosts::veth(site)?, Vec::new()));
    }
    let vxlan = Some(Reach::Vxlan);
    for (names, name, reach, rules) in [
        (&[BRIDGE_RULES][..], "bridge", None, true),
        (&[FLANNEL, FLANNEL_WIRE, FLANNEL_PLAIN_WIRE, FLANNEL_V6], "flannel", vxlan, false),
        (&[FLANNEL_RULES], "flannelnf", vxlan, true),
        (&[HOST_GATEWAY, HOST_GATEWAY_V6], "hostgw", Some(Reach::Gateway), false),
    ] {
        if names.iter().any(|name| wanted(name)) {
            let built = Bridge { name, reach, rules }.build(site, binaries)?;
            lanes.push(Lane::plain(names[0], built.pair, built.nodes));
        }
    }
    for (names, same_node, name, path, rules) in [
        (&[DEVICE, DEVICE_WIRE, DEVICE_PLAIN_WIRE][..], None, "device", Path::Device, false),
        (&[OWN, OWN_WIRE, OWN_PLAIN_WIRE, OWN_V6, SAME_NODE_V6], Some(SAME_NODE), "own", Path::Own, false),
        (&[OWN_RULES], Some(SAME_NODE_RULES), "ownnf", Path::Own, true),
        (&[DIRECT, DIRECT_V6], None, "direct", Path::Direct, false),
    ] {
        if names.iter().copied().chain(same_node).any(wanted) {
            let built = Naru { name, path, rules, services: None, policies: None }.build(site, binaries)?;
            lanes.extend(same_node.map(|lane| Lane::plain(lane, built.same_node, Vec::new())));
            lanes.push(Lane::plain(names[0], built.cross_node, built.nodes));
        }
    }
    add_services(&mut lanes, site, binaries, wanted)?;
    if [POLICY, POLICY_FAR].into_iter().any(wanted) {
        let policies = Some(Policies { count: POLICIES });
        let nodes = Naru { name: "pol", path: Path::Own, rules: false, services: None, policies };
        let built = nodes.build(site, binaries)?;
        lanes.push(Lane::plain(POLICY, built.same_node, Vec::new()));
        lanes.push(Lane::plain(POLICY_FAR, built.cross_node, built.nodes));
    }
    add_wires(&mut lanes);
    add_v6(&mut lanes);
    lanes.retain(|lane| wanted(lane.name));
    Ok(lanes)
}

/// Adds lanes through Services, translated by naru's programs and by kube-proxy's rules.
fn add_services(
    lanes: &mut Vec<Lane>,
    site: &Site,
    binaries: &Binaries,
    wanted: &dyn Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let nodes = |name: &str, by: Translator, count: u32| {
        let services = Some(Services { by, count });
        Naru { name, path: Path::Own, rules: false, services, policies: None }.build(site, binaries)
    };
    if [SERVICE, SERVICE_FAR].into_iter().any(wanted) {
        let built = nodes("svc", Translator::Programs, SERVICES)?;
        lanes.push(Lane::plain(SERVICE, built.same_node, Vec::new()));
        lanes.push(Lane::plain(SERVICE_FAR, built.cross_node, built.nodes));
    }
    for (number, (lane, proxy, count)) in PROXIES.into_iter().enumerate() {
        if wanted(lane) {
            let built = nodes(&format!("kp{number}"), Translator::Stack(proxy), count)?;
            lanes.push(Lane::plain(lane, built.same_node, Vec::new()));
        }
    }
    Ok(())
}

/// Adds lanes between the same nodes over a wire.
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

/// Adds lanes between the same pods over IPv6.
fn add_v6(lanes: &mut Vec<Lane>) {
    for (of, name) in [
        (VETH, VETH_V6),
        (FLANNEL, FLANNEL_V6),
        (HOST_GATEWAY, HOST_GATEWAY_V6),
        (SAME_NODE, SAME_NODE_V6),
        (OWN, OWN_V6),
        (DIRECT, DIRECT_V6),
    ] {
        let lane = lanes.iter().find(|lane| lane.name == of).and_then(|lane| lane.in_v6(name));
        lanes.extend(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &'static str, v6: Option<std::net::IpAddr>) -> Lane {
        let pair =
            Pair { client: "a".into(), server: "b".into(), address: [10, 0, 0, 2].into(), v6, service: None };
        Lane::plain(name, pair, Vec::new())
    }

    #[test]
    fn lanes_of_gates_have_every_load_and_others_those_of_one_cpu() {
        assert!(Load::ALL.into_iter().all(|load| lane(OWN, None).carries(load)));
        let carried =
            |lane: &Lane| Load::ALL.into_iter().filter(|load| lane.carries(*load)).collect::<Vec<_>>();
        assert_eq!(carried(&lane(OWN_RULES, None)), Load::ON_ONE);
        assert_eq!(carried(&lane(OWN, None).over(OWN_WIRE, Wire::Merging)), [Load::Stream]);
    }

    #[test]
    fn a_pair_with_two_addresses_has_a_lane_in_ipv6() {
        let six = "fd00::2".parse().unwrap();
        let mut lanes = vec![lane(VETH, Some(six)), lane(OWN, None)];
        add_v6(&mut lanes);
        assert_eq!(lanes.len(), 3);
        assert_eq!((lanes[2].name, lanes[2].pair.address), (VETH_V6, six));
    }
}
