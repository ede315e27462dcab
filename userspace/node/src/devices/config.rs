use std::net::IpAddr;

use naru_abi::{ABI_VERSION, Addr, Config, features};
use naru_core::cluster::Encapsulation;
use naru_netlink::links::Links;

use super::uplinks;
use crate::{
    host::sysctl,
    machine::{DEVICE, MachineError, Settings, Survey},
};
use naru_bpf::{ConfigMap, Pins};

/// Makes the programs' configuration match the cluster and the machine's addresses.
pub(super) fn ensure(
    links: &Links,
    pins: &Pins,
    settings: &Settings,
    survey: &Survey,
    overlay_ifindex: u32,
) -> Result<(), MachineError> {
    let mut map = ConfigMap::open(pins)?;
    let config = Config {
        abi: ABI_VERSION,
        features: features(settings, naru_bpf::can_encapsulate)
            | substitute(links, settings)?
            | by_ports(links)?,
        overlay_ifindex,
        tunnel_port: settings.cluster.tunnel.port.into(),
        vni: settings.cluster.tunnel.vni,
        reserved: 0,
        node_v4: source(settings, survey, IpAddr::is_ipv4),
        node_v6: source(settings, survey, IpAddr::is_ipv6),
    };
    if map.get()? != config {
        map.set(config)?;
    }
    Ok(())
}

fn features(settings: &Settings, can_encapsulate: fn() -> bool) -> u32 {
    let mut features = features::REDIRECT_PEER;
    if !uplinks::is_needed(settings) {
        return features;
    }
    // Packets that come without the tunnel from a remote pod's address are accepted only if a node may send that way.
    if settings.cluster.may_send_directly() {
        features |= features::DIRECT;
    }
    let wants_own = settings.cluster.encapsulation_of(&settings.node) == Encapsulation::Auto;
    if wants_own && can_encapsulate() {
        features |= features::OWN_ENCAPSULATION;
    }
    features
}

/// Returns the feature for a node on which routing may depend on ports: by a rule, or by the choice among paths of
/// equal cost. The programs then ask the kernel for each pair of ports. Else returns 0.
fn by_ports(links: &Links) -> Result<u32, MachineError> {
    let mut asks = links.rules()?.asks_for_ports;
    for policy in ["net/ipv4/fib_multipath_hash_policy", "net/ipv6/fib_multipath_hash_policy"] {
        asks |= sysctl::read(policy)?.is_some_and(|policy| policy != "0");
    }
    Ok(if asks { features::ROUTES_BY_PORTS } else { 0 })
}

/// Returns the feature for a tunnel device whose port differs from the tunnel's, else 0. A rule then writes the
/// tunnel's port into sent packets; at that point nobody can tell how far a checksum has been computed.
fn substitute(links: &Links, settings: &Settings) -> Result<u32, MachineError> {
    let own = links.overlay_port(DEVICE)?;
    Ok(if own.is_some_and(|port| port != settings.cluster.tunnel.port) { features::SHARED_PORT } else { 0 })
}

/// Returns the first of the node's addresses of a family that the machine has: the source of packets that its programs
/// encapsulate.
fn source(settings: &Settings, survey: &Survey, is_of_family: fn(&IpAddr) -> bool) -> Addr {
    let own = settings.cluster.node(&settings.node).map_or(&[][..], |own| &own.addresses);
    let found = own.iter().find(|address| is_of_family(address) && survey.addresses.contains(address));
    found.map_or(Addr::UNSPECIFIED, |address| Addr::from(*address))
}

#[cfg(test)]
mod tests {
    use naru_core::cluster::{ClusterSpec, NodeSpec, Routing};

    use super::*;
    use crate::machine::Request;

    fn node(name: &str, routing: Option<Routing>) -> NodeSpec {
        NodeSpec { name: name.to_owned(), routing, ..NodeSpec::default() }
    }

    #[test]
    fn packets_without_the_tunnel_are_taken_only_where_a_node_may_send_them() {
        use Routing::{Auto, Direct, Tunnel};
        let taken = |routing, own, other| {
            let nodes = vec![node("own", own), node("other", other)];
            let cluster = ClusterSpec { routing, nodes, ..ClusterSpec::default() };
            let request = Request { node: Some("own".into()), cluster: Some(cluster), ..Request::default() };
            let settings = Settings::merge(None, &request).unwrap();
            assert!(uplinks::is_needed(&settings), "the programs encapsulate");
            features(&settings, || true) & features::DIRECT != 0
        };
        assert!(taken(Auto, None, None) && taken(Direct, None, None));
        assert!(!taken(Tunnel, None, None));
        assert!(taken(Tunnel, None, Some(Auto)), "the other node chooses for itself");
        assert!(taken(Tunnel, Some(Direct), None));
        assert!(!taken(Auto, Some(Tunnel), Some(Tunnel)));
    }
}
