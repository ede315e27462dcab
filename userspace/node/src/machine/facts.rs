use std::{io::ErrorKind, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Delegated, MachineError, Pool, Standalone, versions};
use crate::paths::Paths;

/// Facts that init found and set for this boot, as attachments of pods need them; `<run>/node.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The boot these facts hold for.
    pub boot_id: String,
    /// The network namespace they hold for.
    #[serde(default)]
    pub netns: String,
    /// Layout version of maps and pins.
    pub abi: u32,
    /// This node's name.
    pub node: String,
    /// This node's addresses that the machine has, its underlay address first; pods see them as source of the node's
    /// own packets.
    pub addresses: Vec<IpAddr>,
    /// Blocks that pods without a `subnet` in their configuration take addresses from (the cluster's).
    pub blocks: Vec<IpNet>,
    /// Pools of the `subnet` lists of network configurations (standalone).
    #[serde(default)]
    pub own: Vec<Pool>,
    /// Pools with a name.
    #[serde(default)]
    pub pools: Vec<PoolFacts>,
    /// Subnets from which other IPAM plugins give addresses to pods; `None` if the node knows of no such network.
    #[serde(default)]
    pub delegated: Option<Vec<Delegated>>,
    /// Networks whose pods all have a rate limit, which holds for packets through the stack only.
    #[serde(default)]
    pub limited: Vec<String>,
    /// MTU of a pod's interface unless the configuration says otherwise.
    pub pod_mtu: u32,
    /// UDP port of the tunnel; `None` without one.
    #[serde(default)]
    pub tunnel_port: Option<u16>,
    /// UDP port of the tunnel device; it differs from the tunnel's if another program uses that here.
    #[serde(default)]
    pub device_port: Option<u16>,
    /// Devices that our programs are attached to beside the tunnel device and pods'.
    #[serde(default)]
    pub uplinks: Vec<String>,
    /// True if packets of pods that leave by those without the tunnel matter: for other nodes, or to policies.
    #[serde(default)]
    pub sends_around: bool,
}

/// A pool that an administrator made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolFacts {
    /// Its name, also in the store.
    pub name: String,
    /// Namespaces whose pods take their addresses from it.
    pub namespaces: Vec<String>,
}

impl NodeFacts {
    /// Returns true if there is a pool of that name.
    #[must_use]
    pub fn has_pool(&self, name: &str) -> bool {
        self.pools.iter().any(|pool| pool.name == name)
    }

    /// The pool that pods of a namespace take their addresses from, where one says so.
    #[must_use]
    pub fn pool_of_namespace(&self, namespace: &str) -> Option<&str> {
        let holds = |pool: &&PoolFacts| pool.namespaces.iter().any(|one| one == namespace);
        self.pools.iter().find(holds).map(|pool| pool.name.as_str())
    }

    /// Returns the facts of the last init, in whichever boot; `None` if there are none or they are not understood.
    ///
    /// # Errors
    /// [`MachineError::Newer`], or the file is there but cannot be read.
    pub fn load(paths: &Paths) -> Result<Option<Self>, MachineError> {
        let path = paths.node_facts();
        match std::fs::read(&path) {
            Ok(content) => {
                versions::check(&path, &content)?;
                Ok(serde_json::from_slice(&content).ok())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
            Err(error) => Err(MachineError::file(path, "read")(error)),
        }
    }

    /// This node's address of the family of `pod`: the source of the kernel route to it.
    #[must_use]
    pub fn source_for(&self, pod: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == pod.is_ipv4())
    }

    /// Returns true if the node was told of what another IPAM gives addresses of.
    #[must_use]
    pub fn knows(&self, wanted: &Delegated) -> bool {
        let Some(known) = &self.delegated else { return false };
        let masqueraded = |subnet: &IpNet| {
            known
                .iter()
                .filter(|one| one.masquerade)
                .flat_map(|one| &one.subnets)
                .any(|own| own.contains(subnet))
        };
        let all = || known.iter().flat_map(|one| &one.subnets);
        let is_served = |subnet: &IpNet| all().any(|own| own.addr().is_ipv4() == subnet.addr().is_ipv4());
        wanted.subnets.iter().all(|subnet| masqueraded(subnet) == wanted.masquerade && is_served(subnet))
    }

    /// Returns true if the network takes the node's blocks and the cluster gave it none.
    #[must_use]
    pub fn waits_for_range(&self, asked: Option<&Standalone>) -> bool {
        let takes_blocks = asked.is_none_or(|asked| asked.subnets.is_empty());
        takes_blocks && self.tunnel_port.is_some() && self.blocks.is_empty()
    }

    /// Returns true if the node serves the network, as it is asked for now; without one pods take the node's blocks.
    #[must_use]
    pub fn serves(&self, asked: Option<&Standalone>) -> bool {
        match asked.filter(|asked| !asked.subnets.is_empty()) {
            None => !self.blocks.is_empty(),
            Some(asked) => self.own.iter().any(|pool| asked.is_served_by(pool)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnets: Vec<IpNet>) -> Pool {
        Pool { subnets, reserved: Vec::new(), masquerade: true, networks: ["net".to_owned()].into() }
    }

    fn asked(subnets: &[&str]) -> Standalone {
        Standalone {
            network: "net".into(),
            subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
            reserved: Vec::new(),
            masquerade: Some(true),
            allow_overlap: false,
        }
    }

    fn facts(blocks: &[&str], subnets: &[&[&str]]) -> NodeFacts {
        let networks = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        NodeFacts {
            boot_id: "boot".into(),
            netns: "cookie:1".into(),
            abi: 1,
            node: "node1".into(),
            addresses: vec!["2001:db8::1".parse().unwrap(), "198.51.100.1".parse().unwrap()],
            blocks: networks(blocks),
            own: subnets.iter().map(|list| pool(networks(list))).collect(),
            pools: Vec::new(),
            delegated: None,
            limited: Vec::new(),
            pod_mtu: 1450,
            tunnel_port: None,
            device_port: None,
            uplinks: Vec::new(),
            sends_around: false,
        }
    }

    #[test]
    fn a_configuration_without_subnet_needs_blocks() {
        assert!(facts(&["10.32.0.0/24"], &[]).serves(None));
        assert!(!facts(&[], &[&["10.22.0.0/16"]]).serves(None));
    }

    #[test]
    fn subnets_of_another_ipam_are_news_by_masquerade_or_family_only() {
        let delegated = |subnet: &str, masquerade| Delegated {
            subnets: vec![subnet.parse().unwrap()],
            masquerade,
            ..Delegated::default()
        };
        let mut node = facts(&[], &[]);
        assert!(!node.knows(&Delegated::default()), "not even that there is one");
        node.delegated = Some(vec![delegated("10.0.0.0/24", false), delegated("10.1.0.0/16", true)]);
        for known in [delegated("10.9.0.1/32", false), delegated("10.1.7.0/24", true), Delegated::default()] {
            assert!(node.knows(&known), "{known:?}");
        }
        for news in
            [delegated("10.0.0.0/24", true), delegated("10.1.0.0/16", false), delegated("fd00::/64", false)]
        {
            assert!(!node.knows(&news), "{news:?}");
        }
    }

    #[test]
    fn a_list_of_subnets_is_served_as_a_whole() {
        let facts = facts(&[], &[&["10.22.0.0/16", "fd22::/64"]]);
        let (v4, v6) = ("10.22.0.0/16".parse().unwrap(), "fd22::/64".parse().unwrap());
        let both = asked(&["10.22.0.0/16", "fd22::/64"]);
        assert!(facts.serves(Some(&both)));
        assert!(!facts.serves(Some(&asked(&["10.22.0.0/16"]))));
        assert_eq!(pool_name(&[v4, v6]), "10.22.0.0/16,fd22::/64");
        assert_eq!(pool_name(&[]), "node");
    }

    #[test]
    fn what_is_asked_of_a_subnet_is_more_than_its_name() {
        let (facts, as_it_is) = (facts(&[], &[&["10.22.0.0/16"]]), asked(&["10.22.0.0/16"]));
        for (news, is_served) in [
            (as_it_is.clone(), true),
            (Standalone { masquerade: Some(false), ..as_it_is.clone() }, false),
            (Standalone { masquerade: None, ..as_it_is.clone() }, false),
            (Standalone { reserved: vec!["10.22.0.1".parse().unwrap()], ..as_it_is.clone() }, false),
            (Standalone { network: "other".into(), ..as_it_is }, false),
        ] {
            assert_eq!(facts.serves(Some(&news)), is_served, "{news:?}");
        }
    }

    #[test]
    fn the_source_is_the_first_address_of_the_pods_family() {
        let facts = facts(&[], &[]);
        assert_eq!(facts.source_for("10.0.0.1".parse().unwrap()), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(facts.source_for("fd00::1".parse().unwrap()), Some("2001:db8::1".parse().unwrap()));
    }
}
