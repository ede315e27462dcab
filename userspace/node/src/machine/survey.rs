use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_core::{
    desired::{ForeignRules, Inputs, NextHops, Path, Paths, Pod},
    overlap::{Claim, Clash, Holder, clashes},
};
use naru_netlink::links::{Links, NodeAddress, RuleList, UnderlayPath};

use super::{MachineError, PoolSubnets, Settings};

/// What the machine is like, as far as the desired state depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// This machine's unicast addresses that others reach it at, those of the uplink first.
    pub addresses: Vec<IpAddr>,
    /// Destinations of routes that are not ours.
    pub foreign: Vec<IpNet>,
    /// The paths to the other nodes' addresses.
    pub paths: Paths,
    /// The Ethernet interfaces that the tunnel's and the nodes' packets take, by index.
    pub uplinks: BTreeMap<u32, String>,
    /// MTU of the device that holds this node's first address, or of the one with the default route.
    pub uplink_mtu: Option<u32>,
    /// Devices whose IPv6 default route came from a router advertisement.
    pub advertised: Vec<String>,
    /// Where the rules of others begin that packets to pods would meet before the main table.
    pub foreign_rules: ForeignRules,
}

impl Survey {
    /// Looks at the machine; changes nothing.
    ///
    /// # Errors
    /// The kernel refuses a dump.
    pub fn take(links: &Links, settings: &Settings) -> Result<Self, MachineError> {
        let held = links.addresses()?;
        let routes = links.route_list()?;
        let defaults = routes.defaults();
        let mut uplinks: Vec<u32> = defaults.iter().map(|route| route.index).collect();
        if let Some(own) = settings.cluster.node(&settings.node) {
            let holder = held.iter().find(|address| own.addresses.contains(&address.ip));
            uplinks.splice(0..0, holder.map(|address| address.index));
        }
        let mut advertised = Vec::new();
        for route in defaults.iter().filter(|route| route.from_router_advertisement) {
            advertised.extend(links.link_at(route.index)?.map(|link| link.name));
        }
        let remotes = settings.cluster.remotes(&settings.node).flat_map(|node| &node.addresses).copied();
        let ways = links.paths_to(remotes, &routes);
        let uplink = uplinks.first().map_or(Ok(None), |index| links.link_at(*index))?;
        Ok(Self {
            addresses: ordered(&held, &uplinks),
            foreign: routes.foreign(),
            paths: ways.iter().map(|(end, path)| (*end, seen(path))).collect(),
            uplinks: ways.into_values().filter(|path| path.is_ethernet).flat_map(|path| path.hops).collect(),
            uplink_mtu: uplink.map(|link| link.mtu),
            advertised,
            foreign_rules: first_foreign(&links.rules()?),
        })
    }

    /// MTU of a pod's interface unless its configuration says otherwise.
    #[must_use]
    pub fn pod_mtu(&self, settings: &Settings) -> u32 {
        self.ways(settings).pod_mtu(self.uplink_mtu)
    }

    /// The ways to the other nodes.
    #[must_use]
    pub fn ways<'a>(&'a self, settings: &'a Settings) -> NextHops<'a> {
        NextHops { cluster: &settings.cluster, node: &settings.node, paths: &self.paths }
    }

    /// Whether somebody else uses `range`. `others` are pod ranges that the node has beside it.
    #[must_use]
    pub fn clash(&self, settings: &Settings, range: IpNet, others: &[IpNet]) -> Option<Clash> {
        let claim = |holder: Holder| move |network: IpNet| Claim { network, holder: holder.clone() };
        let remotes = settings.cluster.remotes(&settings.node).flat_map(|node| &node.addresses);
        let claims = [
            self.addresses
                .iter()
                .copied()
                .map(IpNet::from)
                .map(claim(Holder::NodeAddress))
                .collect::<Vec<_>>(),
            remotes.copied().map(IpNet::from).map(claim(Holder::RemoteNode)).collect(),
            self.foreign.iter().copied().map(claim(Holder::HostRoute)).collect(),
            settings.services.iter().copied().map(claim(Holder::Services)).collect(),
            others.iter().copied().map(claim(Holder::PodRange)).collect(),
        ];
        clashes(&[range], &claims.concat()).pop()
    }

    /// The clashes of those ranges that `concerns` chooses.
    #[must_use]
    pub fn overlaps(&self, settings: &Settings, concerns: impl Fn(&IpNet) -> bool) -> Vec<Clash> {
        let ranges = settings.ranges();
        let mut clashes = Vec::new();
        for (at, range) in ranges.iter().enumerate().filter(|(_, range)| concerns(range)) {
            let mut others = ranges.clone();
            others.remove(at);
            clashes.extend(self.clash(settings, *range, &others));
        }
        clashes
    }

    /// What the desired state follows from; `pools` as [`Settings::pool_subnets`] says.
    #[must_use]
    pub fn inputs<'a>(
        &'a self,
        settings: &'a Settings,
        pools: &'a PoolSubnets,
        pods: &'a [Pod],
    ) -> Inputs<'a> {
        Inputs {
            cluster: &settings.cluster,
            node: &settings.node,
            subnets: &pools.all,
            masqueraded: &pools.masqueraded,
            delegated: &pools.delegated,
            foreign_rules: self.foreign_rules,
            host_addresses: &self.addresses,
            paths: &self.paths,
            pods,
        }
    }
}

/// Where the rules of others begin.
pub(crate) fn first_foreign(rules: &RuleList) -> ForeignRules {
    let first = |v4| rules.foreign.iter().filter(|rule| rule.v4 == v4).map(|rule| rule.preference).min();
    ForeignRules { v4: first(true), v6: first(false) }
}

/// The addresses that others can use, those of earlier `uplinks` first, IPv4 before IPv6.
fn ordered(held: &[NodeAddress], uplinks: &[u32]) -> Vec<IpAddr> {
    let rank = |address: &NodeAddress| {
        uplinks.iter().position(|index| *index == address.index).unwrap_or(usize::MAX)
    };
    let mut usable: Vec<&NodeAddress> =
        held.iter().filter(|address| is_reachable(address.ip) && !address.unsettled).collect();
    usable.sort_by_key(|address| (rank(address), address.ip.is_ipv6(), address.ip));
    usable.into_iter().map(|address| address.ip).collect()
}

fn is_reachable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || is_link_local)
}

/// A path as the desired state takes it.
const fn seen(path: &UnderlayPath) -> Path {
    Path { device: path.index, gateway: path.gateway, mtu: path.mtu, is_ethernet: path.is_ethernet }
}
