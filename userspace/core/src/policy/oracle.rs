//! A plain evaluation of the objects, packet by packet: what the tables must agree with, and what explanations are made
//! of. It shares nothing with the compiler but the objects.

use std::{net::IpAddr, sync::Arc};

use naru_abi::policy::Direction;

use super::model::{
    Cluster, Holder, Labels, Namespaces, NetworkPolicy, Peer, Pod, PolicyName, Port, Ports, Rule, Selector,
};

/// A packet, seen from the pod that is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The direction, as the pod sees it.
    pub direction: Direction,
    /// The other end.
    pub peer: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port; 0 for protocols without ports.
    pub port: u16,
}

/// Result of evaluating the policies for a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// No policy isolates the pod in this direction.
    NotIsolated,
    /// The pod is its own peer.
    Itself,
    /// A rule allows it.
    Allowed(RuleName),
    /// Policies isolate the pod, and no rule of them allows it.
    Denied(Denial),
}

/// The name of a rule: its policy, its direction, its place in the policy's list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleName {
    /// The policy.
    pub policy: PolicyName,
    /// The list.
    pub direction: Direction,
    /// The place in the list, from 0.
    pub index: usize,
}

/// The reasons of a denial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// The policies that isolate the pod, in ascending order of their names.
    pub policies: Vec<PolicyName>,
    /// The holder of the peer's address.
    pub peer: Holder,
    /// The rule that misses the packet by the least, if there is any rule.
    pub nearest: Option<(RuleName, Miss)>,
}

/// The difference between a rule and a packet, the smallest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Miss {
    /// The peer is right and the protocol too, but not the port.
    Port,
    /// The peer is right, but not the protocol.
    Protocol,
    /// The peer lies in a part that the block leaves out.
    Except,
    /// The port is right and the peer's namespace too, but not its labels.
    Labels,
    /// The port is right and the peer's labels too, but not its namespace.
    Namespace,
    /// The port is right; the peer is somebody else.
    Peer,
    /// Neither is right.
    Everything,
}

impl Answer {
    /// Returns true if the packet passes.
    #[must_use]
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

/// The policies that isolate a pod in a direction, in ascending order of their names.
pub fn isolating<'a>(
    cluster: &'a Cluster,
    pod: &'a Pod,
    direction: Direction,
) -> impl Iterator<Item = &'a Arc<NetworkPolicy>> {
    let isolates = move |policy: &&Arc<NetworkPolicy>| {
        pod.is_member()
            && policy.name.namespace == pod.namespace
            && policy.rules(direction).is_some()
            && policy.pods.matches(&pod.labels)
    };
    cluster.policies.values().filter(isolates)
}

/// Judges a packet of `pod`, or to it.
#[must_use]
pub fn judge(cluster: &Cluster, pod: &Pod, packet: &Packet) -> Answer {
    judge_with(cluster, pod, packet, || cluster.holder(packet.peer))
}

/// The same for a caller that finds the holder of the peer's address by itself.
pub fn judge_with(cluster: &Cluster, pod: &Pod, packet: &Packet, holder: impl FnOnce() -> Holder) -> Answer {
    let mut policies = isolating(cluster, pod, packet.direction).peekable();
    if policies.peek().is_none() {
        return Answer::NotIsolated;
    }
    if pod.addresses.contains(&packet.peer) {
        return Answer::Itself;
    }
    let question = Asked { cluster, pod, packet, holder: holder() };
    let mut denial = Denial { policies: Vec::new(), peer: question.holder.clone(), nearest: None };
    for policy in policies {
        denial.policies.push(policy.name.clone());
        for (index, rule) in policy.rules(packet.direction).unwrap_or_default().iter().enumerate() {
            let name = || RuleName { policy: policy.name.clone(), direction: packet.direction, index };
            match question.miss(policy, rule) {
                None => return Answer::Allowed(name()),
                Some(miss) if denial.nearest.as_ref().is_none_or(|(_, least)| miss < *least) => {
                    denial.nearest = Some((name(), miss));
                }
                Some(_) => {}
            }
        }
    }
    Answer::Denied(denial)
}

/// A packet with all that is needed to hold a rule against it.
struct Asked<'a> {
    cluster: &'a Cluster,
    pod: &'a Pod,
    packet: &'a Packet,
    holder: Holder,
}

impl Asked<'_> {
    /// The difference between the rule and the packet; `None` if the rule allows it.
    fn miss(&self, policy: &NetworkPolicy, rule: &Rule) -> Option<Miss> {
        let of_peers = rule.peers.iter().map(|peer| self.peer_miss(policy, peer));
        let peer = if rule.peers.is_empty() { None } else { of_peers.min().flatten() };
        let port = self.port_miss(&rule.ports);
        match (peer, port) {
            (None, port) => port,
            (peer, None) => peer,
            (Some(_), Some(_)) => Some(Miss::Everything),
        }
    }

    fn peer_miss(&self, policy: &NetworkPolicy, peer: &Peer) -> Option<Miss> {
        let (namespaces, pods) = match peer {
            Peer::Block(block) if block.contains(self.packet.peer) => return None,
            Peer::Block(block) if block.cidr.contains(&self.packet.peer) => return Some(Miss::Except),
            Peer::Block(_) => return Some(Miss::Peer),
            Peer::Pods { namespaces, pods } => (namespaces, pods),
        };
        let (namespace, labels) = match &self.holder {
            Holder::Pod(pod) => (self.is_in(policy, namespaces, &pod.namespace), pods.matches(&pod.labels)),
            Holder::UnknownPod => return (!means_every_pod(namespaces, pods)).then_some(Miss::Labels),
            Holder::Node(_) | Holder::Outside => return Some(Miss::Peer),
        };
        match (namespace, labels) {
            (true, true) => None,
            (true, false) => Some(Miss::Labels),
            (false, true) => Some(Miss::Namespace),
            (false, false) => Some(Miss::Peer),
        }
    }

    /// A namespace whose labels are not known is in no selection but the one of all.
    fn is_in(&self, policy: &NetworkPolicy, namespaces: &Namespaces, namespace: &str) -> bool {
        match namespaces {
            Namespaces::Own => policy.name.namespace == namespace,
            Namespaces::Selected(selector) => {
                let matches = |labels: &Labels| selector.matches(labels);
                selector.is_everything() || self.cluster.namespaces.get(namespace).is_some_and(matches)
            }
        }
    }

    fn port_miss(&self, ports: &[Port]) -> Option<Miss> {
        if ports.is_empty() || ports.iter().any(|port| self.is_to(port)) {
            return None;
        }
        let same_protocol = ports.iter().any(|port| port.protocol.number() == self.packet.protocol);
        Some(if same_protocol { Miss::Port } else { Miss::Protocol })
    }

    fn is_to(&self, port: &Port) -> bool {
        let is_right = match &port.ports {
            Ports::All => true,
            Ports::Range(from, to) => (*from..=*to).contains(&self.packet.port),
            Ports::Named(name) => match self.receiver() {
                Some(pod) => pod.numbers(name, port.protocol).contains(&self.packet.port),
                None => false,
            },
        };
        is_right && port.protocol.number() == self.packet.protocol
    }

    /// The pod that the packet goes to, which gives named ports their numbers.
    fn receiver(&self) -> Option<&Pod> {
        match (self.packet.direction, &self.holder) {
            (Direction::Ingress, _) => Some(self.pod),
            (Direction::Egress, Holder::Pod(pod)) => Some(pod),
            (Direction::Egress, _) => None,
        }
    }
}

/// Returns true for the peers of which every pod is one, also a pod that is not known.
fn means_every_pod(namespaces: &Namespaces, pods: &Selector) -> bool {
    pods.is_everything() && matches!(namespaces, Namespaces::Selected(all) if all.is_everything())
}
