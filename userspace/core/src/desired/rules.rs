use std::{collections::BTreeSet, fmt, net::IpAddr};

use ipnet::IpNet;

use super::{Inputs, MAIN_TABLE, NODE_TABLE};

/// Preference of the rules for packets to pods: before those of strongSwan (220), Amazon's plugin (512) and Tailscale
/// (5210).
const PODS_PREFERENCE: u32 = 150;
/// Preference of the rules for packets of pods to other nodes.
const NODES_PREFERENCE: u32 = 5230;

/// The packets that a policy rule selects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Selector {
    /// Packets from the prefix.
    From(IpNet),
    /// Packets to the prefix.
    To(IpNet),
}

/// A policy rule of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rule {
    /// The selected packets.
    pub selector: Selector,
    /// The table they are looked up in.
    pub table: u32,
    /// Its place among the rules: the smaller the earlier.
    pub preference: u32,
    /// Routes whose prefix is at most so long do not count.
    pub suppress: Option<u32>,
}

impl fmt::Display for Rule {
    /// As `ip rule` tells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.selector {
            Selector::From(prefix) => write!(f, "{}: from {prefix} lookup {}", self.preference, self.table),
            Selector::To(prefix) => write!(f, "{}: to {prefix} lookup {}", self.preference, self.table),
        }
    }
}

/// The place of the first rule of others that packets meet before the main table, by family; `None` where there is
/// none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ForeignRules {
    /// Of IPv4.
    pub v4: Option<u32>,
    /// Of IPv6.
    pub v6: Option<u32>,
}

impl ForeignRules {
    /// The first one for packets of the family of `ip`.
    #[must_use]
    pub const fn first_for(self, ip: IpAddr) -> Option<u32> {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// Local pods' forwarded packets look remote nodes up in our table, as soon as there is a remote node. Where others
/// have rules that could lead packets to pods elsewhere (a VPN's default route), the pods are looked up in the main
/// table before. Without such rules ours would only cost every look-up its time.
pub fn rules(inputs: &Inputs<'_>) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    if inputs.remotes().next().is_some() {
        rules.extend(inputs.own_prefixes().map(|prefix| Rule {
            selector: Selector::From(prefix),
            table: NODE_TABLE,
            preference: before(NODES_PREFERENCE, inputs.foreign_rules.first_for(prefix.addr())),
            suppress: None,
        }));
    }
    let to = |prefix: IpNet, suppress| {
        let first = inputs.foreign_rules.first_for(prefix.addr())?;
        let preference = before(PODS_PREFERENCE, Some(first));
        Some(Rule { selector: Selector::To(prefix), table: MAIN_TABLE, preference, suppress })
    };
    rules.extend(pod_ranges(inputs).into_iter().filter_map(|prefix| to(prefix, None)));
    // Others may live in these networks too: just the pods' own routes count.
    let lent = inputs
        .delegated
        .iter()
        .filter_map(|prefix| to(*prefix, Some(u32::from(prefix.max_prefix_len()) - 1)));
    rules.extend(lent);
    rules
}

/// The ranges from which pods have addresses, here and on other nodes, without those inside others.
fn pod_ranges(inputs: &Inputs<'_>) -> BTreeSet<IpNet> {
    let remote = inputs.remotes().flat_map(|remote| remote.node.blocks.iter().copied());
    let all: BTreeSet<IpNet> =
        inputs.own_prefixes().chain(inputs.cluster.ranges.iter().copied()).chain(remote).collect();
    let is_held = |range: &IpNet| all.iter().any(|other| other != range && other.contains(range));
    all.iter().copied().filter(|range| !is_held(range)).collect()
}

/// The usual place, or one before the first rule of others. Nothing can be before the rule of local addresses.
fn before(usual: u32, foreign: Option<u32>) -> u32 {
    match foreign {
        Some(first) if first <= usual => first.saturating_sub(1).max(1),
        _ => usual,
    }
}
