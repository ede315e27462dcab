//! Explanations: why a packet passes, or why it does not and what would have let it pass.

use std::{fmt, net::IpAddr};

use naru_abi::policy::Direction;

use super::{
    model::{Cluster, Holder, Pod, Rule},
    oracle::{Answer, Denial, Miss, Packet, RuleName},
};

/// An answer about a packet, as sentences.
pub struct Explanation<'a> {
    /// The objects.
    pub cluster: &'a Cluster,
    /// The judged pod.
    pub pod: &'a Pod,
    /// The packet.
    pub packet: &'a Packet,
    /// The policies' answer for the packet.
    pub answer: &'a Answer,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pod = self.pod.full_name();
        let direction = self.packet.direction.label();
        match self.answer {
            Answer::NotIsolated => write!(f, "{pod}: passes: no policy isolates the pod for {direction}"),
            Answer::Itself => write!(f, "{pod}: passes: the pod itself is the peer"),
            Answer::Allowed(name) => {
                write!(f, "{pod}: passes by {}", self.named(name))
            }
            Answer::Denied(denial) => self.denied(f, denial),
        }
    }
}

impl Explanation<'_> {
    fn denied(&self, f: &mut fmt::Formatter<'_>, denial: &Denial) -> fmt::Result {
        let policies = denial.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let direction = self.packet.direction.label();
        let (pod, peer) = (self.pod.full_name(), holder(&denial.peer, self.packet.peer));
        let preposition = match self.packet.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        write!(f, "{pod}: denied: the pod is isolated for {direction} by {policies}, ")?;
        write!(f, "and no rule allows {} {preposition} {peer}", port(self.packet))?;
        if let Some((name, miss)) = &denial.nearest {
            write!(f, "; nearest is {}: {}", self.named(name), reason(*miss))?;
        }
        match denial.peer {
            Holder::Node(_) => write!(f, "; selectors never match a node, {} would", own_block(self.packet)),
            Holder::Outside => write!(f, "; no pod has the address, {} would match", own_block(self.packet)),
            Holder::Pod(_) | Holder::UnknownPod => Ok(()),
        }
    }

    /// A rule with its text.
    fn named(&self, name: &RuleName) -> String {
        let policy = self.cluster.policies.get(&name.policy);
        let rule = policy.and_then(|policy| policy.rules(name.direction)?.get(name.index));
        let text = rule.map(|rule| format!(" ({})", rule_text(rule))).unwrap_or_default();
        format!("{name}{text}")
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, direction, index } = self;
        write!(f, "{} rule {} of {policy}", direction.label(), index + 1)
    }
}

/// A rule in one line: `pods app=web or 10.0.0.0/8, to TCP 80`.
#[must_use]
pub fn rule_text(rule: &Rule) -> String {
    let list = |all: Vec<String>, none: &str, word: &str| {
        if all.is_empty() { none.to_owned() } else { all.join(word) }
    };
    let peers = list(rule.peers.iter().map(ToString::to_string).collect(), "everybody", " or ");
    let ports = list(rule.ports.iter().map(ToString::to_string).collect(), "every port", ", ");
    format!("{peers}, {ports}")
}

/// The holder of an address in words.
#[must_use]
pub fn holder(holder: &Holder, address: IpAddr) -> String {
    match holder {
        Holder::Pod(pod) => format!("pod {} ({address})", pod.full_name()),
        Holder::Node(name) if name.is_empty() => format!("a node ({address}), which is no pod"),
        Holder::Node(name) => format!("node {name} ({address}), which is no pod"),
        Holder::UnknownPod => format!("a pod that is not known yet ({address})"),
        Holder::Outside => format!("{address}"),
    }
}

const fn reason(miss: Miss) -> &'static str {
    match miss {
        Miss::Port => "the peer is right, the port is not",
        Miss::Protocol => "the peer is right, the protocol is not",
        Miss::Except => "its block has the peer in an exception",
        Miss::Labels => "the peer's namespace is right, its labels are not",
        Miss::Namespace => "the peer's labels are right, its namespace is not",
        Miss::Peer => "the port is right, the peer is not",
        Miss::Everything => "neither the peer nor the port is right",
    }
}

fn own_block(packet: &Packet) -> String {
    let bits = if packet.peer.is_ipv4() { 32 } else { 128 };
    format!("an ipBlock with {}/{bits}", packet.peer)
}

fn port(packet: &Packet) -> String {
    match packet.protocol {
        6 => format!("TCP {}", packet.port),
        17 => format!("UDP {}", packet.port),
        132 => format!("SCTP {}", packet.port),
        1 | 58 => "ICMP".to_owned(),
        other => format!("protocol {other}"),
    }
}
