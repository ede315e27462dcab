//! From Node objects, which may contradict each other, to a cluster that is consistent: the later claim wins, the other
//! one is left out with a remark, and no other node is affected.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_cluster::{
    Problem, Remark,
    file::ClusterSettings,
    rules::{Taken, is_name},
};
use naru_core::cluster::{ClusterSpec, NodeSpec};

use crate::{
    follow::Entry,
    nodes::{Node, Standing},
};

/// The Node objects, by name.
pub type Nodes = BTreeMap<String, Entry<Node>>;

/// The cluster that the nodes' objects describe together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The cluster; `None` where the own node is not known at all.
    pub cluster: Option<ClusterSpec>,
    /// Objects, or parts of them, that are left out.
    pub remarks: Vec<Remark>,
}

/// Makes a cluster of `nodes`. `own` is this node's name, and `last` its last known addresses: a node that the API no
/// longer has keeps its pods, but gives out no address.
pub fn agree(nodes: &Nodes, settings: &ClusterSettings, own: &str, last: &[IpAddr]) -> Agreement {
    let mut draft = Draft { settings, own, remarks: Vec::new() };
    let mut specs = draft.candidates(nodes);
    if !specs.iter().any(|spec| spec.name == own && !spec.addresses.is_empty()) {
        specs.retain(|spec| spec.name != own);
        if nodes.get(own).is_none_or(|entry| entry.is_kept) {
            draft.remark(own, "the API has no Node of this name: it gives out no addresses");
        }
        specs.push(NodeSpec { name: own.to_owned(), addresses: last.to_vec(), ..NodeSpec::default() });
    }
    draft.take_addresses(&mut specs);
    draft.take_blocks(&mut specs);
    draft.choose_family(&mut specs);
    draft.note_missing_range(nodes, &specs);
    let is_known = specs.iter().any(|spec| spec.name == own && !spec.addresses.is_empty());
    // Other nodes without a range have no pods; this node must be in the cluster for the sake of its pods.
    specs.retain(|spec| !spec.addresses.is_empty() && (!spec.blocks.is_empty() || spec.name == own));
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    draft.remarks.sort();
    draft.remarks.dedup();
    let cluster = is_known.then(|| spec(specs, settings));
    Agreement { cluster, remarks: draft.remarks }
}

fn spec(nodes: Vec<NodeSpec>, settings: &ClusterSettings) -> ClusterSpec {
    let ranges = match settings.ranges.is_empty() {
        true => IpNet::aggregate(&nodes.iter().flat_map(|node| node.blocks.clone()).collect()),
        false => settings.ranges.clone(),
    };
    ClusterSpec {
        ranges,
        masquerade: settings.masquerade,
        no_masquerade: settings.no_masquerade.clone(),
        routing: settings.routing,
        encapsulation: settings.encapsulation,
        tunnel: settings.tunnel.clone(),
        nodes,
    }
}

struct Draft<'a> {
    settings: &'a ClusterSettings,
    own: &'a str,
    remarks: Vec<Remark>,
}

impl Draft<'_> {
    fn remark(&mut self, node: &str, reason: impl ToString) {
        self.remarks.push(Remark { subject: format!("node {node}"), reason: reason.to_string() });
    }

    /// The nodes of ours, the latest claim first.
    fn candidates(&mut self, nodes: &Nodes) -> Vec<NodeSpec> {
        let mut found: Vec<(&String, &Entry<Node>, &Node)> = Vec::new();
        for (name, entry) in nodes {
            if let Some(fault) = &entry.fault {
                let kept = if entry.value.is_some() { ": what it said before stays" } else { "" };
                self.remark(name, format!("{fault}{kept}"));
            }
            if entry.is_kept {
                self.remark(name, "gone from a store that went back in time: kept until it has settled");
            }
            match &entry.value {
                Some(node) if node.standing == Standing::Ours && is_name(name) => {
                    found.push((name, entry, node))
                }
                _ => {}
            }
        }
        found.sort_by_key(|(name, entry, node)| {
            (entry.is_kept, Reverse(node.since), Reverse(entry.created.clone()), (*name).clone())
        });
        let spec = |(name, _, node): (&String, &Entry<Node>, &Node)| NodeSpec {
            name: name.clone(),
            addresses: node.addresses.clone(),
            blocks: node.blocks.clone(),
            ..NodeSpec::default()
        };
        found.into_iter().map(spec).collect()
    }

    /// Leaves every address to one node: the own one, else the one with the latest claim.
    fn take_addresses(&mut self, specs: &mut [NodeSpec]) {
        let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
        let own_first = |spec: &&mut NodeSpec| spec.name != self.own;
        let mut ordered: Vec<&mut NodeSpec> = specs.iter_mut().collect();
        ordered.sort_by_key(own_first);
        for spec in ordered {
            let mut addresses = std::mem::take(&mut spec.addresses);
            addresses.retain(|address| match self.fault_of(*address, &owners) {
                None => owners.insert(*address, spec.name.clone()).is_none(),
                Some(problem) => {
                    self.remark(&spec.name, problem);
                    false
                }
            });
            spec.addresses = addresses;
        }
    }

    fn fault_of(&self, address: IpAddr, owners: &BTreeMap<IpAddr, String>) -> Option<Problem> {
        if let Some(owner) = owners.get(&address) {
            return Some(Problem::DuplicateAddress { address, owner: owner.clone() });
        }
        let range = self.settings.ranges.iter().find(|range| range.contains(&address))?;
        Some(Problem::AddressInRange { address, range: *range })
    }

    /// Leaves every block to one node, the one with the latest claim, and takes none that a node's address lies in.
    fn take_blocks(&mut self, specs: &mut [NodeSpec]) {
        let addresses: BTreeSet<IpAddr> = specs.iter().flat_map(|spec| spec.addresses.clone()).collect();
        let mut taken = Taken::default();
        for spec in specs {
            let name = spec.name.clone();
            spec.blocks.retain(|block| {
                let fault = self.fault_of_block(*block, &addresses).or_else(|| {
                    let (other, owner) = taken.take(*block, name.clone())?;
                    Some(Problem::BlockTaken { block: *block, other: *other, owner: owner.clone() })
                });
                let is_good = fault.is_none();
                fault.into_iter().for_each(|fault| self.remark(&name, fault));
                is_good
            });
        }
    }

    fn fault_of_block(&self, block: IpNet, addresses: &BTreeSet<IpAddr>) -> Option<Problem> {
        let ranges = &self.settings.ranges;
        if !ranges.is_empty() && !ranges.iter().any(|range| range.contains(&block)) {
            return Some(Problem::OutsideRanges(block));
        }
        let address =
            *addresses.range(block.network()..).next().filter(|address| block.contains(*address))?;
        Some(Problem::AddressInRange { address, range: block })
    }

    /// Tunnels end at addresses of one family: the family that most nodes have, among those that this node has.
    fn choose_family(&mut self, specs: &mut Vec<NodeSpec>) {
        let has = |spec: &NodeSpec, v4: bool| spec.addresses.iter().any(|address| address.is_ipv4() == v4);
        let own = specs.iter().find(|spec| spec.name == self.own);
        let Some(own) = own.filter(|own| !own.addresses.is_empty()) else { return };
        let weight = |v4: bool| {
            let able = specs.iter().filter(|spec| has(spec, v4)).count();
            let first = |spec: &&NodeSpec| spec.addresses.first().is_some_and(|first| first.is_ipv4() == v4);
            (has(own, v4), able, specs.iter().filter(first).count(), v4)
        };
        let v4 = weight(true) > weight(false);
        let mut example = None;
        for spec in specs.iter_mut() {
            spec.addresses.sort_by_key(|address| address.is_ipv4() != v4);
            if has(spec, v4) {
                example.get_or_insert_with(|| spec.name.clone());
            }
        }
        specs.retain(|spec| match (spec.addresses.first(), &example) {
            (Some(first), Some(other)) if first.is_ipv4() != v4 => {
                self.remark(&spec.name, Problem::MixedUnderlay { address: *first, other: other.clone() });
                false
            }
            _ => true,
        });
    }

    /// For the own node only: this one does not suffer if others have no range yet.
    fn note_missing_range(&mut self, nodes: &Nodes, specs: &[NodeSpec]) {
        let has_none = specs.iter().any(|spec| spec.name == self.own && spec.blocks.is_empty());
        let value = nodes.get(self.own).and_then(|entry| entry.value.as_ref());
        let own = self.own;
        match value {
            Some(node) if node.standing != Standing::Ours => self.remark(own, node.standing.label()),
            Some(node) if has_none && node.blocks.is_empty() => {
                self.remark(own, "no podCIDR: the cluster gives it no range, and it gives out no addresses");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
