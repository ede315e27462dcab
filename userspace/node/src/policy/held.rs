//! What the maps held before a compiler began: a new one numbers everything anew, behind all that is there, so that a
//! packet is judged by the old entries until the pods are moved over to the new ones.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use naru_abi::{
    Addr, PodValue, Prefix,
    policy::{CLOSED_SUBJECT, RulesKey, RulesValue},
};
use naru_bpf::{Pins, Pods, Policies};
use naru_core::policy::compile::{FirstNumbers, Plan};

use super::PolicyError;

/// Entries of the maps.
#[derive(Default)]
pub struct Held {
    peers: Vec<Addr>,
    nets: Vec<Prefix>,
    rules: Vec<RulesKey>,
    first: FirstNumbers,
}

impl Held {
    /// True if the maps have anything of policies: lists of rules, or a pod that is judged.
    #[must_use]
    pub fn is_any(pins: &Pins) -> bool {
        let has_rules =
            Policies::open(pins).and_then(|policies| policies.rules()).is_ok_and(|all| !all.is_empty());
        let is_judged = |pods: Vec<(Addr, PodValue)>| pods.iter().any(|(_, value)| value.subject != 0);
        has_rules || Pods::open(pins).and_then(|pods| pods.entries()).is_ok_and(is_judged)
    }

    /// Reads the maps.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(pins: &Pins) -> Result<Self, PolicyError> {
        let policies = Policies::open(pins)?;
        let (peers, nets, rules) = (policies.peers()?, policies.nets()?, policies.rules()?);
        let subjects =
            rules.iter().map(|value| value.key.subject).filter(|subject| *subject != CLOSED_SUBJECT);
        let classes = rules.iter().map(|value| value.key.class);
        let classes = classes.chain(peers.iter().flat_map(|value| [value.class, value.base]));
        let classes = classes.chain(nets.iter().map(|(_, class)| *class));
        let numbers = rules.iter().flat_map(|value| &value.rules).map(|rule| rule.rule);
        let behind = |last: Option<u32>| last.unwrap_or(0).saturating_add(1);
        Ok(Self {
            first: FirstNumbers {
                subject: behind(subjects.max()),
                class: behind(classes.max()),
                rule: behind(numbers.max()),
            },
            peers: peers.into_iter().map(|value| value.address).collect(),
            nets: nets.into_iter().map(|(prefix, _)| prefix).collect(),
            rules: rules.into_iter().map(|value| value.key).collect(),
        })
    }

    /// The numbers that a compiler may begin with.
    #[must_use]
    pub const fn first(&self) -> FirstNumbers {
        self.first
    }

    /// The removal of every entry that the first plan of the compiler does not have.
    #[must_use]
    pub fn superseded(&self, plan: &Plan) -> Plan {
        let peers = plan.peers.iter().map(|value| value.address).collect::<HashSet<_>>();
        let nets = plan.nets.iter().map(|(prefix, _)| *prefix).collect::<HashSet<_>>();
        let rules = plan.rules.iter().map(|value| value.key).collect::<HashSet<_>>();
        Plan {
            removed_peers: self.peers.iter().filter(|address| !peers.contains(address)).copied().collect(),
            removed_nets: self.nets.iter().filter(|prefix| !nets.contains(prefix)).copied().collect(),
            removed_rules: self.rules.iter().filter(|key| !rules.contains(key)).copied().collect(),
            ..Plan::default()
        }
    }

    /// Lists for old subjects and new classes, so that a pod with an old subject keeps its rights while addresses move
    /// to their new classes: those of the new subject that takes the old one's place. `moves` has the old and the new
    /// subject of each pod; an old one that would have several successors has none.
    #[must_use]
    pub fn bridge(plan: &Plan, moves: impl IntoIterator<Item = (u32, u32)>) -> Vec<RulesValue> {
        let mut successors = BTreeMap::<u32, BTreeSet<u32>>::new();
        for (old, new) in moves {
            if old != 0 && old != CLOSED_SUBJECT && new != 0 && old != new {
                successors.entry(old).or_default().insert(new);
            }
        }
        let mut bridge = Vec::new();
        for (old, new) in successors.into_iter().filter(|(_, new)| new.len() == 1) {
            // The list of class 0 is the old one's own, which nothing else may replace while it is in use.
            let lists =
                plan.rules.iter().filter(|value| new.contains(&value.key.subject) && value.key.class != 0);
            bridge.extend(lists.map(|value| {
                let key = RulesKey { subject: old, ..value.key };
                RulesValue { key, ..*value }
            }));
        }
        bridge
    }
}
