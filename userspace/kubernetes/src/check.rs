//! A check of the whole cluster from outside: contradictions between its objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_cluster::rules::Taken;

use crate::{
    nodes::{Node, Standing},
    survey::{Agent, Listed, PodAddress},
};

/// The kinds of faults of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The contents of a Node object are invalid.
    Nonsense,
    /// A node of ours without a block.
    NoRange,
    /// Two nodes have blocks that share addresses.
    BlocksOverlap,
    /// Two nodes have one address.
    AddressTwice,
    /// Two nodes are one machine, or one is a copy of the other.
    Cloned,
    /// A pod has an address outside the blocks of its node.
    PodOutside,
    /// Two pods have one address.
    PodTwice,
    /// Agents of different versions.
    Skew,
}

/// One fault.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Found {
    /// Its kind.
    pub fault: Fault,
    /// The subject: `node node1`, `pod default/web-0`.
    pub subject: String,
    /// The evidence.
    pub evidence: String,
}

/// Everything that is wrong, in order.
#[must_use]
pub fn check(nodes: &[Listed], pods: &[PodAddress], agents: &[Agent]) -> Vec<Found> {
    let mut check = Check { found: BTreeSet::new() };
    let mut ours: Vec<(&str, &Node)> = Vec::new();
    for listed in nodes {
        match &listed.node {
            Err(fault) => check.add(Fault::Nonsense, format!("node {}", listed.name), fault.clone()),
            Ok(node) if node.standing == Standing::Ours => ours.push((&listed.name, node)),
            Ok(_) => {}
        }
    }
    check.nodes(&ours);
    check.pods(&ours, pods);
    check.agents(agents);
    check.found.into_iter().collect()
}

struct Check {
    found: BTreeSet<Found>,
}

impl Check {
    fn add(&mut self, fault: Fault, subject: String, evidence: String) {
        self.found.insert(Found { fault, subject, evidence });
    }

    fn nodes(&mut self, ours: &[(&str, &Node)]) {
        let mut taken: Taken<&str> = Taken::default();
        let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
        let mut machines: BTreeMap<&str, &str> = BTreeMap::new();
        self.ranges(ours);
        for (name, node) in ours {
            let subject = || format!("node {name}");
            for block in &node.blocks {
                if let Some((other, owner)) = taken.take(*block, name) {
                    let evidence = format!("{block} overlaps {other} of node {owner}");
                    self.add(Fault::BlocksOverlap, subject(), evidence);
                }
            }
            for address in &node.addresses {
                if let Some(owner) = addresses.insert(*address, name) {
                    let evidence = format!("{address} is an address of node {owner} too");
                    self.add(Fault::AddressTwice, subject(), evidence);
                }
            }
            if !node.machine.is_empty()
                && let Some(owner) = machines.insert(&node.machine, name)
            {
                let evidence = format!("the machine id is that of node {owner} too");
                self.add(Fault::Cloned, subject(), evidence);
            }
        }
    }

    /// Nodes without a range, or without one of a family in which others have one: a cluster that became dual stack
    /// keeps its old nodes as they are.
    fn ranges(&mut self, ours: &[(&str, &Node)]) {
        let has = |node: &Node, v4: bool| node.blocks.iter().any(|block| block.addr().is_ipv4() == v4);
        for (name, node) in ours {
            let subject = format!("node {name}");
            if node.blocks.is_empty() {
                self.add(Fault::NoRange, subject, "no podCIDR".to_owned());
                continue;
            }
            for (v4, family) in [(true, "IPv4"), (false, "IPv6")] {
                let other = ours.iter().find(|(_, other)| has(other, v4));
                if let Some((other, _)) = other.filter(|_| !has(node, v4)) {
                    let evidence = format!("no {family} podCIDR, and node {other} has one");
                    self.add(Fault::NoRange, subject.clone(), evidence);
                }
            }
        }
    }

    fn pods(&mut self, ours: &[(&str, &Node)], pods: &[PodAddress]) {
        let blocks: BTreeMap<&str, &[IpNet]> =
            ours.iter().map(|(name, node)| (*name, node.blocks.as_slice())).collect();
        let mut holders: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for pod in pods {
            let subject = || format!("pod {}", pod.pod);
            for address in &pod.addresses {
                let own = blocks.get(pod.node.as_str());
                if own.is_some_and(|blocks| !blocks.iter().any(|block| block.contains(address))) {
                    let evidence = format!("{address} is in no block of its node {}", pod.node);
                    self.add(Fault::PodOutside, subject(), evidence);
                }
                if let Some(other) = holders.insert(*address, &pod.pod) {
                    self.add(
                        Fault::PodTwice,
                        subject(),
                        format!("{address} is an address of pod {other} too"),
                    );
                }
            }
        }
    }

    fn agents(&mut self, agents: &[Agent]) {
        let mut by_image: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for agent in agents {
            by_image.entry(&agent.image).or_default().push(&agent.node);
        }
        if by_image.len() > 1 {
            for (image, nodes) in by_image {
                self.add(Fault::Skew, format!("image {image}"), format!("on {}", nodes.join(", ")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, addresses: &[&str], blocks: &[&str], machine: &str) -> Listed {
        let node = Node {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            blocks: blocks.iter().map(|text| text.parse().unwrap()).collect(),
            standing: Standing::Ours,
            machine: machine.to_owned(),
            zone: String::new(),
            is_unavailable: false,
            since: 0,
        };
        Listed { name: name.to_owned(), uid: String::new(), node: Ok(node) }
    }

    fn pod(name: &str, node: &str, address: &str) -> PodAddress {
        PodAddress { pod: name.to_owned(), node: node.to_owned(), addresses: vec![address.parse().unwrap()] }
    }

    fn agent(node: &str, image: &str) -> Agent {
        Agent { node: node.to_owned(), image: image.to_owned() }
    }

    fn shown(found: &[Found]) -> Vec<String> {
        found.iter().map(|found| format!("{}: {}", found.subject, found.evidence)).collect()
    }

    #[test]
    fn a_cluster_that_agrees_has_no_fault() {
        let nodes = [
            node("a", &["10.0.0.1"], &["10.244.0.0/24"], "m1"),
            node("b", &["10.0.0.2"], &["10.244.1.0/24"], "m2"),
        ];
        let pods =
            [pod("d/x", "a", "10.244.0.5"), pod("d/y", "b", "10.244.1.5"), pod("d/z", "gone", "10.9.9.9")];
        assert_eq!(check(&nodes, &pods, &[agent("a", "i:1"), agent("b", "i:1")]), []);
    }

    #[test]
    fn a_node_without_a_family_that_others_have_is_named() {
        let nodes = [
            node("a", &["10.0.0.1"], &["10.244.0.0/24"], ""),
            node("b", &["10.0.0.2"], &["10.244.1.0/24", "fd00:1::/64"], ""),
        ];
        assert_eq!(shown(&check(&nodes, &[], &[])), ["node a: no IPv6 podCIDR, and node b has one"]);
    }

    #[test]
    fn every_fault_is_named_with_both_sides() {
        let nodes = [
            node("a", &["10.0.0.1"], &["10.244.0.0/24"], "m1"),
            node("b", &["10.0.0.1"], &["10.244.0.0/16"], "m1"),
            node("c", &["10.0.0.3"], &[], ""),
            Listed { name: "d".into(), uid: String::new(), node: Err("podCIDR `x` is not a network".into()) },
        ];
        let pods = [pod("d/x", "a", "10.250.0.5"), pod("d/y", "b", "10.250.0.5")];
        let expected = [
            "node d: podCIDR `x` is not a network",
            "node c: no podCIDR",
            "node b: 10.244.0.0/16 overlaps 10.244.0.0/24 of node a",
            "node b: 10.0.0.1 is an address of node a too",
            "node b: the machine id is that of node a too",
            "pod d/x: 10.250.0.5 is in no block of its node a",
            "pod d/y: 10.250.0.5 is in no block of its node b",
            "pod d/y: 10.250.0.5 is an address of pod d/x too",
            "image i:1: on a",
            "image i:2: on b",
        ];
        assert_eq!(shown(&check(&nodes, &pods, &[agent("a", "i:1"), agent("b", "i:2")])), expected);
    }
}
