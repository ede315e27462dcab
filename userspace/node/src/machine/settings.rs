use std::{collections::BTreeSet, fmt::Display, io::ErrorKind, path::PathBuf};

use ipnet::IpNet;
use naru_core::cluster::ClusterSpec;
use serde::{Deserialize, Serialize};

use super::{Delegated, MachineError, NamedPool, Origin, Request, versions};
use crate::{
    host::{self, sysctl::Families},
    paths::Paths,
};
use naru_bpf::{AttachMode, Sizes};

/// The settings of init, kept in `<state>/init.json`: enough to repeat it after a reboot without any other source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// This node's name.
    pub node: String,
    /// The cluster as last accepted.
    pub cluster: ClusterSpec,
    /// Pools of subnets of this machine's own.
    pub pools: Vec<Pool>,
    /// Subnets from which other IPAM plugins give addresses to pods of this machine; `None` if there is no such
    /// network.
    #[serde(default)]
    pub delegated: Option<Vec<Delegated>>,
    /// Pools that an administrator made.
    #[serde(default)]
    pub named: Vec<NamedPool>,
    /// Ranges of Service addresses.
    pub services: Vec<IpNet>,
    /// `auto`, `tcx` or `clsact`.
    pub attach: String,
    /// True if the runtime's network configuration is ours to install.
    pub conflist: bool,
    /// Capacity of `FLOWS`; `None`: the default.
    #[serde(default)]
    pub max_flows: Option<u32>,
    /// True if pod ranges are taken although addresses, links or routes of this machine lie in them.
    #[serde(default)]
    pub allow_overlap: bool,
    /// True if pods cannot have other ranges: those of an orchestrator, which gives each node its own.
    #[serde(default)]
    pub fixed_ranges: bool,
    /// The machine to which they belong; unknown for settings of an older version.
    #[serde(default)]
    pub origin: Origin,
}

/// A pool of subnets of this machine's own, from one network configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// The subnets.
    pub subnets: Vec<IpNet>,
    /// Addresses that no pod gets.
    pub reserved: Vec<std::net::IpAddr>,
    /// True if packets that leave the machine take its address.
    pub masquerade: bool,
    /// The networks that request it, by the `name` of their configurations; none if a version made it that did not note
    /// them, or if all have changed to other subnets.
    #[serde(default)]
    pub networks: BTreeSet<String>,
}

impl Pool {
    pub(super) fn overlaps(&self, subnets: &[IpNet]) -> bool {
        let shared = |own: &IpNet| subnets.iter().any(|one| own.contains(one) || one.contains(own));
        self.subnets.iter().any(shared)
    }
}

/// The subnets of all pools together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolSubnets {
    /// Every one.
    pub all: Vec<IpNet>,
    /// Those of masqueraded pools.
    pub masqueraded: Vec<IpNet>,
    /// Networks of other IPAM plugins, in which others may live too.
    pub delegated: Vec<IpNet>,
}

impl Settings {
    /// The settings of the init before; `None` if there was none.
    ///
    /// # Errors
    /// [`MachineError::DamagedSettings`]; the file cannot be read for another reason.
    pub fn load(paths: &Paths) -> Result<Option<Self>, MachineError> {
        let path = paths.settings();
        let damaged =
            |path: PathBuf, why: &dyn Display| MachineError::DamagedSettings { path, why: why.to_string() };
        match std::fs::read(&path) {
            Ok(content) => {
                versions::check(&path, &content)?;
                serde_json::from_slice(&content).map(Some).map_err(|error| damaged(path, &error))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::IsADirectory => Err(damaged(path, &"a directory")),
            Err(error) => Err(MachineError::file(path, "read")(error)),
        }
    }

    /// Loads them as [`Settings::load`] does; returns none if they are damaged and the request starts over.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub(crate) fn load_for(paths: &Paths, request: &Request) -> Result<Option<Self>, MachineError> {
        match Self::load(paths) {
            Err(MachineError::DamagedSettings { .. }) if request.begins_anew => Ok(None),
            loaded => loaded,
        }
    }

    /// Adds `request` to the settings of `before`.
    ///
    /// # Errors
    /// [`MachineError::NotConfigured`], [`MachineError::UnknownNode`], [`MachineError::Network`],
    /// [`MachineError::Pool`].
    pub fn merge(before: Option<&Self>, request: &Request) -> Result<Self, MachineError> {
        let mut settings = before.cloned().unwrap_or_else(Self::empty);
        if let Some(node) = &request.node {
            settings.node.clone_from(node);
        }
        if let Some(cluster) = &request.cluster {
            settings.cluster = cluster.clone();
        }
        if let Some(attach) = request.attach {
            attach.label().clone_into(&mut settings.attach);
        }
        if !request.services.is_empty() {
            settings.services.clone_from(&request.services);
        }
        settings.conflist = request.conflist.unwrap_or(settings.conflist);
        settings.max_flows = request.max_flows.or(settings.max_flows);
        settings.allow_overlap |= request.allow_overlap;
        settings.fixed_ranges |= request.fixed_ranges;
        if let Some(standalone) = request.standalone.as_ref().filter(|s| !s.subnets.is_empty()) {
            settings.allow_overlap |= standalone.allow_overlap;
            settings.serve(standalone)?;
        }
        if let Some(delegated) = &request.delegated {
            settings.delegate(delegated)?;
        }
        if let Some(change) = &request.pool {
            settings.change_pools(change)?;
        }
        // A machine whose last pool of its own has drained stays a node without one.
        let may_be_empty = before.is_some_and(|before| !before.is_clustered());
        settings.check(may_be_empty)?;
        Ok(settings)
    }

    /// Saves them; they are on the disk when the call returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, paths: &Paths) -> Result<(), MachineError> {
        super::write_json(&paths.settings(), self).map(drop)
    }

    /// Capacities of the maps.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let sizes = Sizes::default();
        Sizes { flows: self.max_flows.unwrap_or(sizes.flows), ..sizes }
    }

    /// The mode in which programs are attached to the tunnel device.
    #[must_use]
    pub fn attach_mode(&self) -> AttachMode {
        self.attach.parse().unwrap_or_default()
    }

    /// Returns true if this node has a tunnel: the cluster names it.
    #[must_use]
    pub fn is_clustered(&self) -> bool {
        !self.cluster.nodes.is_empty()
    }

    /// This node's blocks of the cluster.
    #[must_use]
    pub fn blocks(&self) -> &[IpNet] {
        self.cluster.node(&self.node).map_or(&[], |node| &node.blocks)
    }

    /// Returns true if there are addresses to give out; a node of a cluster may wait for its block.
    #[must_use]
    pub fn has_addresses(&self) -> bool {
        !self.is_clustered() || !self.blocks().is_empty() || !self.pools.is_empty() || !self.named.is_empty()
    }

    /// Every subnet of every pool.
    #[must_use]
    pub fn pool_subnets(&self) -> PoolSubnets {
        let of =
            |pools: &mut dyn Iterator<Item = &Pool>| pools.flat_map(|pool| pool.subnets.clone()).collect();
        PoolSubnets {
            all: [of(&mut self.pools.iter()), self.named_subnets(|_| true)].concat(),
            masqueraded: [
                of(&mut self.pools.iter().filter(|pool| pool.masquerade)),
                self.delegated_subnets(|one| one.masquerade),
                self.named_subnets(|pool| pool.masquerade),
            ]
            .concat(),
            delegated: self.delegated_subnets(|_| true),
        }
    }

    /// Subnets of other IPAM plugins, those that `concerns` chooses.
    pub(crate) fn delegated_subnets(&self, concerns: impl Fn(&Delegated) -> bool) -> Vec<IpNet> {
        let all = self.delegated.iter().flatten().filter(|one| concerns(one));
        all.flat_map(|one| one.subnets.clone()).collect()
    }

    /// The families that pods of this node have, including those of its remote nodes.
    #[must_use]
    pub fn families(&self) -> Families {
        let ranges = [self.ranges(), self.delegated_subnets(|_| true)].concat();
        let has = |v4: bool| ranges.iter().any(|range| range.addr().is_ipv4() == v4);
        Families { v4: has(true), v6: has(false) }
    }

    /// Every range that pods have addresses in, here or on other nodes.
    #[must_use]
    pub fn ranges(&self) -> Vec<IpNet> {
        self.cluster.ranges.iter().copied().chain(self.pool_subnets().all).collect()
    }

    fn empty() -> Self {
        Self {
            node: host::hostname(),
            cluster: ClusterSpec::default(),
            pools: Vec::new(),
            delegated: None,
            named: Vec::new(),
            services: Vec::new(),
            attach: AttachMode::Auto.label().to_owned(),
            // If a plugin makes the node, the configuration that called it exists.
            conflist: false,
            max_flows: None,
            allow_overlap: false,
            fixed_ranges: false,
            origin: Origin::default(),
        }
    }

    /// Notes that they are for this machine.
    pub(crate) fn settle_here(&mut self) {
        self.origin.note(Origin::here());
    }

    fn check(&self, may_be_empty: bool) -> Result<(), MachineError> {
        if !self.is_clustered() {
            let is_empty = self.pools.is_empty() && self.named.is_empty() && self.delegated.is_none();
            return if is_empty && !may_be_empty { Err(MachineError::NotConfigured) } else { Ok(()) };
        }
        if self.cluster.node(&self.node).is_some() {
            return Ok(());
        }
        let known: Vec<&str> = self.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        Err(MachineError::UnknownNode { node: self.node.clone(), known: known.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use naru_core::cluster::NodeSpec;

    use super::super::Standalone;
    use super::*;

    fn cluster(names: &[&str]) -> ClusterSpec {
        let node = |name: &&str| NodeSpec {
            name: (*name).to_owned(),
            addresses: vec!["198.51.100.1".parse().unwrap()],
            blocks: vec!["10.32.0.0/24".parse().unwrap()],
            ..NodeSpec::default()
        };
        ClusterSpec { nodes: names.iter().map(node).collect(), ..ClusterSpec::default() }
    }

    fn request(node: &str, cluster: Option<ClusterSpec>) -> Request {
        Request { node: Some(node.to_owned()), cluster, ..Request::default() }
    }

    fn standalone(subnet: &str, masquerade: bool) -> Request {
        let standalone = Standalone {
            network: "net".into(),
            subnets: vec![subnet.parse().unwrap()],
            masquerade: Some(masquerade),
            ..Standalone::default()
        };
        Request { standalone: Some(standalone), ..Request::default() }
    }

    #[test]
    fn what_a_request_leaves_out_is_as_it_was() {
        let first =
            Request { attach: Some(AttachMode::Clsact), ..request("node1", Some(cluster(&["node1"]))) };
        let before = Settings::merge(None, &first).unwrap();
        let after = Settings::merge(Some(&before), &Request::default()).unwrap();
        assert_eq!(after, before);
        assert_eq!(after.attach_mode(), AttachMode::Clsact);
    }

    #[test]
    fn a_node_that_the_cluster_does_not_name_is_refused_by_name() {
        let error = Settings::merge(None, &request("node9", Some(cluster(&["node1", "node2"])))).unwrap_err();
        let text = "the cluster has no node node9; it has node1, node2: set --node or NARU_NODE";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn without_cluster_and_subnet_there_is_no_node() {
        assert!(matches!(Settings::merge(None, &Request::default()), Err(MachineError::NotConfigured)));
    }

    #[test]
    fn a_node_without_a_cluster_stays_one_without_its_last_pool_and_a_clustered_one_does_not() {
        let mut alone = Settings::merge(None, &standalone("10.22.0.0/16", true)).unwrap();
        alone.pools.clear();
        assert_eq!(Settings::merge(Some(&alone), &Request::default()).unwrap(), alone);
        let clustered = Settings::merge(None, &request("node1", Some(cluster(&["node1"])))).unwrap();
        let without = Settings::merge(Some(&clustered), &request("node1", Some(cluster(&[]))));
        assert!(matches!(without, Err(MachineError::NotConfigured)), "an empty file takes nothing away");
    }
}
