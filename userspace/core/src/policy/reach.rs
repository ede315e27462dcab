//! Reach: everybody who may open a connection to a port of a pod.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use naru_abi::policy::Direction;

use super::model::{Block, Cluster, Holders, Peer, Pod, Port, Ports, Protocol, Rule};
use super::oracle::{Answer, Packet, isolating, judge_with};

/// A port of a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

/// Everybody who may reach it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// True if no policy isolates the pod.
    pub is_open: bool,
    /// Pods that may, by their full names.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// Pods that the target would let in and whose own policies do not let them out.
    pub held_back: BTreeMap<String, Arc<Pod>>,
    /// Blocks of addresses that the target lets in; that of every address for rules about everybody.
    pub blocks: Vec<Block>,
}

/// Everybody who may open a connection to `target` of `pod`.
#[must_use]
pub fn who_can(cluster: &Cluster, pod: &Arc<Pod>, target: Target) -> Reach {
    let holders = Holders::new(cluster);
    let mut reach = Reach {
        is_open: isolating(cluster, pod, Direction::Ingress).next().is_none(),
        pods: BTreeMap::new(),
        held_back: BTreeMap::new(),
        blocks: blocks(cluster, pod, target),
    };
    for peer in cluster.pods.values().filter(|peer| peer.is_member() && peer.uid != pod.uid) {
        let pairs = peer.addresses.iter().flat_map(|from| pod.addresses.iter().map(move |to| (*from, *to)));
        let held = |(from, _): &(IpAddr, IpAddr)| holders.pod(*from).is_some_and(|it| it.uid == peer.uid);
        for (from, to) in pairs.filter(|(from, to)| from.is_ipv4() == to.is_ipv4()).filter(held) {
            if !passes(&holders, cluster, (pod, from), Direction::Ingress, target) {
                continue;
            }
            if passes(&holders, cluster, (peer, to), Direction::Egress, target) {
                reach.pods.insert(peer.full_name(), peer.clone());
            } else {
                reach.held_back.insert(peer.full_name(), peer.clone());
            }
        }
    }
    reach.held_back.retain(|name, _| !reach.pods.contains_key(name));
    reach
}

fn passes(
    holders: &Holders<'_>,
    cluster: &Cluster,
    (pod, peer): (&Pod, IpAddr),
    direction: Direction,
    Target { protocol, port }: Target,
) -> bool {
    let packet = Packet { direction, peer, protocol: protocol.number(), port };
    Answer::passes(&judge_with(cluster, pod, &packet, || holders.holder(peer)))
}

/// The blocks in rules for this port.
fn blocks(cluster: &Cluster, pod: &Pod, target: Target) -> Vec<Block> {
    let policies = isolating(cluster, pod, Direction::Ingress);
    let rules = policies.flat_map(|policy| policy.rules(Direction::Ingress).unwrap_or_default());
    let is_about = |rule: &&Rule| rule.ports.is_empty() || rule.ports.iter().any(|it| is_to(it, pod, target));
    let mut blocks = rules.filter(is_about).flat_map(of_rule).collect::<Vec<_>>();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

fn of_rule(rule: &Rule) -> Vec<Block> {
    if rule.peers.is_empty() {
        let everywhere = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        return everywhere.map(|address| Block::new(ipnet::IpNet::new_assert(address, 0), &[])).to_vec();
    }
    let block = |peer: &Peer| match peer {
        Peer::Block(block) => Some(block.clone()),
        Peer::Pods { .. } => None,
    };
    rule.peers.iter().filter_map(block).collect()
}

fn is_to(port: &Port, pod: &Pod, target: Target) -> bool {
    port.protocol == target.protocol
        && match &port.ports {
            Ports::All => true,
            Ports::Range(from, to) => (*from..=*to).contains(&target.port),
            Ports::Named(name) => pod.numbers(name, port.protocol).contains(&target.port),
        }
}
