//! Peer terms: the sets of addresses that rules of this node's policies speak about.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Member, TermId, profiles::Traits};
use crate::policy::model::{Block, Cluster, Condition, Labels, Protocol, Selector, numbers};

/// A peer of a rule, and the name of the port that the rule means at that peer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    /// The peer.
    pub who: Who,
    /// A port that only pods with a port of that name have: the term has a part for each number behind the name.
    pub port: Option<(Box<str>, Protocol)>,
}

/// A peer of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Who {
    /// Everybody.
    Anybody,
    /// Pods.
    Pods(Scope, Selector),
    /// Addresses.
    Block(Block),
}

/// The namespaces of pods.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// One, by its name.
    Namespace(String),
    /// All with such labels.
    Selected(Selector),
}

impl Term {
    /// Returns true for the peers of which every pod is one, also a pod that is not known.
    pub fn is_every_pod(&self) -> bool {
        let everything = |scope: &Scope| matches!(scope, Scope::Selected(all) if all.is_everything());
        self.port.is_none()
            && matches!(&self.who, Who::Pods(scope, pods) if pods.is_everything() && everything(scope))
    }

    /// The block of addresses, if the term is one.
    pub const fn block(&self) -> Option<&Block> {
        match &self.who {
            Who::Block(block) => Some(block),
            Who::Anybody | Who::Pods(..) => None,
        }
    }

    /// Adds the parts of the term that a pod with these traits belongs to; `is_peer` if the pod is such a peer.
    pub fn members_of(&self, id: TermId, traits: &Traits, is_peer: bool, members: &mut Vec<Member>) {
        match &self.port {
            _ if !is_peer => {}
            None => members.push(Member { term: id, number: 0 }),
            Some((name, protocol)) => {
                let all = numbers(&traits.ports, name, *protocol);
                members.extend(all.into_iter().map(|number| Member { term: id, number }));
            }
        }
    }

    /// Returns true if pods with these traits are such peers by what they are, and not by their addresses.
    fn is_about(&self, traits: &Traits, cluster: &Cluster) -> bool {
        let (scope, pods) = match &self.who {
            Who::Anybody => return true,
            Who::Block(_) => return false,
            Who::Pods(scope, pods) => (scope, pods),
        };
        let namespace = || cluster.namespaces.get(&traits.namespace);
        let is_in_scope = match scope {
            Scope::Namespace(name) => *name == traits.namespace,
            Scope::Selected(all) if all.is_everything() => true,
            Scope::Selected(selector) => namespace().is_some_and(|labels| selector.matches(labels)),
        };
        is_in_scope && pods.matches(&traits.labels)
    }
}

struct Entry {
    term: Arc<Term>,
    users: u32,
}

/// All terms that rules of a subject use, with an index over what a pod must have to belong to one.
#[derive(Default)]
pub struct Terms {
    entries: HashMap<TermId, Entry>,
    ids: HashMap<Arc<Term>, TermId>,
    by_trait: HashMap<u64, Vec<TermId>>,
    every_pod: Vec<TermId>,
    next: TermId,
}

impl Terms {
    /// The number of a term, used once more, and true if the term is new.
    pub fn take(&mut self, term: Term) -> (TermId, bool) {
        if let Some(id) = self.ids.get(&term) {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.users += 1;
            }
            return (*id, false);
        }
        let (id, term) = (self.next, Arc::new(term));
        self.next += 1;
        for key in term_keys(&term) {
            self.by_trait.entry(key).or_default().push(id);
        }
        if term.is_every_pod() {
            self.every_pod.push(id);
        }
        self.ids.insert(term.clone(), id);
        self.entries.insert(id, Entry { term, users: 1 });
        (id, true)
    }

    /// Gives a use of a term back. Returns the term if that was the last use; it is forgotten then.
    pub fn give_back(&mut self, id: TermId) -> Option<Arc<Term>> {
        let entry = self.entries.get_mut(&id)?;
        entry.users = entry.users.saturating_sub(1);
        if entry.users > 0 {
            return None;
        }
        let term = self.entries.remove(&id)?.term;
        self.ids.remove(&term);
        self.every_pod.retain(|other| *other != id);
        for key in term_keys(&term) {
            if let Some(ids) = self.by_trait.get_mut(&key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_trait.remove(&key);
                }
            }
        }
        Some(term)
    }

    /// The term of that number.
    pub fn term(&self, id: TermId) -> Option<&Arc<Term>> {
        self.entries.get(&id).map(|entry| &entry.term)
    }

    /// The terms of every pod.
    pub fn every_pod(&self) -> &[TermId] {
        &self.every_pod
    }

    /// The terms, without blocks, that pods with these traits belong to, in ascending order.
    pub fn members(&self, traits: &Traits, cluster: &Cluster) -> Vec<Member> {
        let mut members = Vec::new();
        for key in pod_keys(traits) {
            for id in self.by_trait.get(&key).map_or(&[][..], Vec::as_slice) {
                self.add_member(*id, traits, cluster, &mut members);
            }
        }
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Adds the parts of one term that pods with these traits belong to.
    pub fn add_member(&self, id: TermId, traits: &Traits, cluster: &Cluster, members: &mut Vec<Member>) {
        if let Some(term) = self.term(id) {
            term.members_of(id, traits, term.is_about(traits, cluster), members);
        }
    }
}

/// The keys of the index under which a term stands: one of the labels that its pods must have, with one key for each
/// value, and their namespace. Every pod of the term has one of them; a pod with one of them need not be of the term.
fn term_keys(term: &Term) -> Vec<u64> {
    let (namespace, selector) = match &term.who {
        Who::Block(_) => return Vec::new(),
        Who::Anybody => (None, &Selector::EVERYTHING),
        Who::Pods(Scope::Namespace(name), pods) => (Some(name.as_str()), pods),
        Who::Pods(Scope::Selected(_), pods) => (None, pods),
    };
    let mut with_values =
        selector.requirements().iter().filter_map(|requirement| match &requirement.condition {
            Condition::In(values) => Some((&requirement.key, values)),
            Condition::NotIn(_) | Condition::Exists | Condition::DoesNotExist => None,
        });
    match with_values.next() {
        None => vec![key(namespace, None)],
        Some((label, values)) => {
            let mut keys = values.iter().map(|it| key(namespace, Some((label, it)))).collect::<Vec<_>>();
            keys.sort_unstable();
            keys.dedup();
            keys
        }
    }
}

/// The keys under which a pod's terms stand.
fn pod_keys(traits: &Traits) -> Vec<u64> {
    let with = |namespace| {
        let by_label = Labels::iter(&traits.labels).map(move |label| key(namespace, Some(label)));
        by_label.chain([key(namespace, None)])
    };
    with(Some(traits.namespace.as_str())).chain(with(None)).collect()
}

fn key(namespace: Option<&str>, label: Option<(&str, &str)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, label).hash(&mut hasher);
    hasher.finish()
}
