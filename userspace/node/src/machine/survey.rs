use std::{collections::BTreeMap, net::IpAddr};

use naru_core::desired::{ForeignRules, Inputs, NextHops, Path, Paths, Pod, Via};
use naru_netlink::links::{self, Links, RuleList, UnderlayPath};

use super::{MachineError, PoolSubnets, Settings, addresses};

/// The state of the machine, as far as the desired state depends on it. The cost of reading it does not grow with the
/// number of foreign routes: the kernel is asked for single routes, and lists naru's only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// This machine's unicast addresses at which others reach it. The first of each family is the one that the kernel
    /// uses towards the outside, unless that is a passing one.
    pub addresses: Vec<IpAddr>,
    /// The paths to the other nodes' addresses.
    pub paths: Paths,
    /// The Ethernet interfaces that the tunnel's and the nodes' packets use, by index.
    pub uplinks: BTreeMap<u32, String>,
    /// MTU of the device that holds this node's first address, or of the path outside.
    pub uplink_mtu: Option<u32>,
    /// The preference at which rules of others begin that packets to pods would meet before the main table.
    pub foreign_rules: ForeignRules,
}

impl Survey {
    /// Looks at the machine; changes nothing.
    ///
    /// # Errors
    /// The kernel refuses a dump.
    pub fn take(links: &Links, settings: &Settings) -> Result<Self, MachineError> {
        let held = links.addresses()?;
        let outside = links.paths_outside()?;
        let remotes = settings.cluster.remotes(&settings.node).flat_map(|node| &node.addresses).copied();
        let ways = links.paths_to(remotes)?;
        let own = settings.cluster.node(&settings.node).map_or(&[][..], |own| &own.addresses);
        // An address on lo, as routers have it, does not name a device.
        let holder = held.iter().find(|address| own.contains(&address.ip) && !address.is_on_loopback());
        let holder = holder.map_or(Ok(None), |address| links.link_at(address.index))?;
        Ok(Self {
            addresses: addresses::ordered(&held, &outside),
            paths: ways.iter().map(|(end, path)| (*end, seen(path))).collect(),
            uplinks: ways.into_values().filter(|path| path.is_ethernet).flat_map(|path| path.hops).collect(),
            uplink_mtu: holder.map(|link| link.mtu).or_else(|| outside.first().map(|path| path.mtu)),
            foreign_rules: first_foreign(&links.rules()?),
        })
    }

    /// MTU of a pod's interface unless its configuration says otherwise.
    #[must_use]
    pub fn pod_mtu(&self, settings: &Settings) -> u32 {
        self.ways(settings).pod_mtu(self.uplink_mtu, settings.families().v6)
    }

    /// The ways to the other nodes.
    #[must_use]
    pub fn ways<'a>(&'a self, settings: &'a Settings) -> NextHops<'a> {
        NextHops { cluster: &settings.cluster, node: &settings.node, paths: &self.paths }
    }

    /// The inputs of the desired state; `pools` comes from [`Settings::pool_subnets`].
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

/// The preference at which the rules of others begin.
pub(crate) fn first_foreign(rules: &RuleList) -> ForeignRules {
    let first = |v4| rules.foreign.iter().filter(|rule| rule.v4 == v4).map(|rule| rule.preference).min();
    ForeignRules { v4: first(true), v6: first(false) }
}

/// A path as the desired state takes it.
const fn seen(path: &UnderlayPath) -> Path {
    let via = match path.next {
        links::NextHop::OnLink => Via::Link,
        links::NextHop::Router(router) => Via::Router(router),
        links::NextHop::Unknown => Via::Unknown,
    };
    Path { device: path.index, via, mtu: path.mtu, is_ethernet: path.is_ethernet }
}
