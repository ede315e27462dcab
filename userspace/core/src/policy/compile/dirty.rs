//! Notes of what an event touched, until [`super::Compiler::settle`] looks at it.

use std::{collections::BTreeSet, sync::Arc};

use naru_abi::{Addr, policy::Direction};

use super::{
    Compiler, ProfileId, TermId,
    nets::{Areas, prefix},
    subjects::Numbered,
};
use crate::policy::model::{Event, NetworkPolicy, Node, Pod, PolicyName};

/// Items to evaluate again after changes.
#[derive(Default)]
pub struct Dirty {
    /// Profiles whose pods may belong to other terms.
    pub profiles: BTreeSet<ProfileId>,
    /// Profiles whose pods of this node may have another subject.
    pub subjects: BTreeSet<ProfileId>,
    /// Profiles that lost a pod.
    pub emptied: BTreeSet<ProfileId>,
    /// Terms that are new.
    pub terms: Vec<TermId>,
    /// Prefixes within which prefixes and addresses may lie in other blocks.
    pub areas: Areas,
    /// Addresses whose holder may be another one.
    pub addresses: BTreeSet<Addr>,
    /// Pods that are, or were, of this node.
    pub pods: BTreeSet<Arc<str>>,
}

impl Compiler {
    /// Notes a change and returns the one that undoes it.
    pub(super) fn note(&mut self, event: Event) -> Event {
        let undo = self.cluster.apply(event);
        match &undo {
            Event::Policy(name, before) => self.note_policy(name, before.as_deref()),
            Event::Namespace(name, before) => {
                if self.cluster.namespaces.get(name) != before.as_ref() {
                    self.dirty.profiles.extend(self.profiles.in_namespace(name));
                }
            }
            Event::Pod(uid, before) => self.note_pod(uid, before.as_ref()),
            Event::Node(name, before) => self.note_node(name, before.as_ref()),
        }
        undo
    }

    fn note_policy(&mut self, name: &PolicyName, before: Option<&NetworkPolicy>) {
        let now = self.cluster.policies.get(name).cloned();
        if now.as_deref() == before {
            return;
        }
        let numbered = now.map(|policy| self.number(policy));
        let in_namespace = self.policies.entry(name.namespace.clone()).or_default();
        match numbered {
            Some(numbered) => in_namespace.insert(name.clone(), numbered),
            None => in_namespace.remove(name),
        };
        self.dirty.subjects.extend(self.profiles.in_namespace(&name.namespace));
        // Those have no profile.
        self.dirty.pods.extend(self.refused.iter().cloned());
    }

    /// The policy with the numbers of its rules: the same as before if it had some.
    fn number(&mut self, policy: Arc<NetworkPolicy>) -> Arc<Numbered> {
        if let Some(numbered) = self.numbers.get(&policy).and_then(|first| self.numbered.get(first)) {
            return numbered.clone();
        }
        let first = self.next_rule;
        // A policy without rules has a number too, by which subjects know it.
        let count = u32::try_from(Numbered::count(&policy).max(1)).unwrap_or(u32::MAX);
        self.next_rule = self.next_rule.saturating_add(count);
        let numbered = Arc::new(Numbered { policy: policy.clone(), first });
        self.numbers.insert(policy, first);
        self.numbered.insert(first, numbered.clone());
        numbered
    }

    fn note_node(&mut self, name: &str, before: Option<&Node>) {
        let now = self.cluster.nodes.get(name).cloned();
        if now.as_ref() == before {
            return;
        }
        for (node, is_there) in [(before, false), (now.as_ref(), true)] {
            for address in node.iter().flat_map(|node| &node.addresses) {
                self.addresses.note_node(*address, is_there);
                self.dirty.addresses.insert((*address).into());
            }
            for block in node.iter().flat_map(|node| &node.blocks) {
                self.nets.note_node(*block, is_there);
                self.dirty.areas.add(prefix(block.trunc()));
            }
        }
    }

    fn note_pod(&mut self, uid: &str, before: Option<&Arc<Pod>>) {
        let now = self.cluster.pods.get(uid).cloned();
        if now.as_ref() == before {
            return;
        }
        let uid = Arc::<str>::from(uid);
        if let Some(before) = before {
            self.leave(&uid, before);
            self.refused.remove(&uid);
        }
        if let Some(now) = now {
            self.enter(&uid, &now);
        }
    }

    /// Takes a pod out of all indexes.
    fn leave(&mut self, uid: &Arc<str>, pod: &Pod) {
        for address in &pod.addresses {
            self.dirty.addresses.insert((*address).into());
            if pod.is_member() {
                self.addresses.disclaim(*address, uid);
            } else if pod.lends_from_node(*address) {
                self.addresses.note_node(*address, false);
            }
        }
        if let Some(profile) = self.profile_of.remove(uid) {
            self.profiles.remove(profile, uid);
            self.dirty.emptied.insert(profile);
        }
        if pod.node == self.node {
            self.dirty.pods.insert(uid.clone());
        }
    }

    /// Puts a pod into all indexes.
    fn enter(&mut self, uid: &Arc<str>, pod: &Pod) {
        let is_local = pod.node == self.node;
        for address in &pod.addresses {
            self.dirty.addresses.insert((*address).into());
            if pod.is_member() {
                self.addresses.claim(*address, pod.claim, uid.clone());
            } else if pod.lends_from_node(*address) {
                self.addresses.note_node(*address, true);
            }
        }
        if is_local {
            self.dirty.pods.insert(uid.clone());
        }
        if !pod.is_member() || self.refused.contains(uid) {
            return;
        }
        let (profile, is_new) = self.profiles.add(pod, uid.clone(), is_local);
        self.profile_of.insert(uid.clone(), profile);
        if is_new {
            self.dirty.profiles.insert(profile);
        }
        if is_local {
            self.dirty.subjects.insert(profile);
        }
    }

    /// Returns true if a policy isolates the pod in that direction.
    pub(super) fn is_isolated(&self, pod: &Pod, direction: Direction) -> bool {
        let policies = self.policies.get(&pod.namespace).into_iter().flat_map(|all| all.values());
        let isolates =
            |it: &Arc<Numbered>| it.policy.rules(direction).is_some() && it.policy.pods.matches(&pod.labels);
        pod.is_member() && policies.into_iter().any(isolates)
    }
}
