use std::net::IpAddr;

use ipnet::IpNet;
use naru_node::machine::Settings;

/// The foreign routes that matter to a node: those to another node, and those to a range of pods. A router may learn
/// and forget hundreds of thousands of others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// True if the rest is known; until then every route matters.
    is_known: bool,
    /// The other nodes' addresses, in order.
    ends: Vec<IpAddr>,
    /// Ranges of pods.
    ranges: Vec<IpNet>,
    /// Prefixes from which this node's own pods have addresses.
    own: Vec<IpNet>,
}

impl Interest {
    /// The interest of a node with these settings.
    pub fn of(settings: &Settings) -> Self {
        let remotes = settings.cluster.remotes(&settings.node);
        let pools = settings.pool_subnets();
        let own = [settings.blocks(), &pools.all, &pools.delegated].concat();
        Self::new(remotes.flat_map(|node| &node.addresses).copied().collect(), settings.ranges(), own)
    }

    /// An interest in routes to these nodes' addresses and to these ranges; this node's pods have addresses of `own`.
    pub fn new(mut ends: Vec<IpAddr>, ranges: Vec<IpNet>, own: Vec<IpNet>) -> Self {
        ends.sort_unstable();
        Self { is_known: true, ends, ranges, own }
    }

    /// Returns true if a route to `destination` is one of a pod of this node.
    pub fn is_own_pod(&self, destination: IpNet) -> bool {
        let is_single = destination.prefix_len() == destination.max_prefix_len();
        is_single && self.own.iter().any(|own| own.contains(&destination))
    }

    /// Returns true if a route to `destination` may change the node's desired state. A default route always may: the
    /// MTU of pods depends on its device.
    pub fn concerns(&self, destination: IpNet) -> bool {
        let overlaps = |range: &IpNet| range.contains(&destination) || destination.contains(range);
        let is_default = destination.prefix_len() == 0;
        !self.is_known || is_default || self.ranges.iter().any(overlaps) || self.leads_to_node(destination)
    }

    fn leads_to_node(&self, destination: IpNet) -> bool {
        let first = self.ends.partition_point(|end| *end < destination.network());
        self.ends.get(first).is_some_and(|end| destination.contains(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_to_nodes_and_into_ranges_matter_and_others_do_not() {
        let ends = ["198.51.100.2", "2001:db8::2", "192.0.2.7", "198.51.100.9"];
        let interest = Interest::new(
            ends.iter().map(|end| end.parse().unwrap()).collect(),
            vec!["10.32.0.0/12".parse().unwrap(), "fd10:32::/48".parse().unwrap()],
            Vec::new(),
        );
        let concerns = |route: &&str| interest.concerns(route.parse().unwrap());
        let mattering = [
            "0.0.0.0/0",
            "::/0",
            "198.51.100.0/24",
            "198.51.100.2/32",
            "198.0.0.0/8",
            "192.0.2.0/29",
            "10.0.0.0/8",
            "10.33.7.0/24",
            "10.32.0.0/12",
            "2001:db8::/32",
            "fd10:32:0:1::/64",
            "0.0.0.0/1",
            "128.0.0.0/1",
        ];
        assert_eq!(mattering.iter().find(|route| !concerns(route)), None);
        let others = [
            "21.1.0.0/16",
            "198.51.101.0/24",
            "198.51.100.3/32",
            "198.51.100.16/28",
            "10.48.0.0/16",
            "192.0.2.8/29",
            "2001:db9::/32",
            "fd10:33::/48",
            "255.255.255.255/32",
        ];
        assert_eq!(others.iter().find(|route| concerns(route)), None);
        assert!(
            others.iter().all(|route| Interest::default().concerns(route.parse().unwrap())),
            "nothing is known yet"
        );
    }
}
