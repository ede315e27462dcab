//! Plans: the writes that lead from the tables in force to the wanted ones.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use naru_abi::{
    Addr, Prefix,
    policy::{PeerValue, PolicyRule, RulesKey, RulesValue},
};

use super::{
    ClassId, SubjectId,
    lists::{self, ListKey},
};

/// The subject of a pod of this node, and the directions in which it is judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Isolation {
    /// The subject; 0 for a pod that nothing isolates.
    pub subject: SubjectId,
    /// True if packets to the pod are judged.
    pub ingress: bool,
    /// True if packets of the pod are judged.
    pub egress: bool,
}

/// Writes, to be made in the order of the fields. At every moment a packet is judged by the objects before the change
/// or by those after it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// New entries of `RULES`: nothing refers to them yet.
    pub rules: Vec<RulesValue>,
    /// New and changed entries of `PEERS`.
    pub peers: Vec<PeerValue>,
    /// New and changed entries of `PEER_NETS`.
    pub nets: Vec<(Prefix, ClassId)>,
    /// Entries of `PEER_NETS` to be removed.
    pub removed_nets: Vec<Prefix>,
    /// Entries of `PEERS` to be removed: the prefix around each says the same now.
    pub removed_peers: Vec<Addr>,
    /// Subjects of pods, by their UIDs.
    pub pods: Vec<(Arc<str>, Isolation)>,
    /// Entries of `RULES` to be removed, to which nothing has referred since the plan before. A program may have read
    /// the reference just before that was carried out: leave it a moment.
    pub removed_rules: Vec<RulesKey>,
}

impl Plan {
    /// Number of writes to maps; a pod counts as one.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.rules.len()
            + self.peers.len()
            + self.nets.len()
            + self.removed_nets.len()
            + self.removed_peers.len()
            + self.pods.len()
            + self.removed_rules.len()
    }
}

/// Changed entries: what was in force before the first change, and what is wanted now. What comes back to where it was
/// is no change.
struct Changes<K, V>(HashMap<K, (Option<V>, Option<V>)>);

impl<K: Hash + Eq + Ord + Copy, V: PartialEq> Changes<K, V> {
    fn note(&mut self, key: K, before: Option<V>, now: Option<V>) {
        self.0.entry(key).or_insert((before, None)).1 = now;
    }

    /// The changes in ascending order of their keys: entries to be written, keys to be removed.
    fn drain(&mut self) -> (Vec<(K, V)>, Vec<K>) {
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for (key, (before, now)) in self.0.drain() {
            match now {
                now if now == before => {}
                Some(now) => written.push((key, now)),
                None => removed.push(key),
            }
        }
        written.sort_unstable_by_key(|(key, _)| *key);
        removed.sort_unstable();
        (written, removed)
    }
}

/// Changes since the last plan.
pub struct Pending {
    lists: BTreeMap<ListKey, Vec<PolicyRule>>,
    removed_pages: Vec<RulesKey>,
    peers: Changes<Addr, PeerValue>,
    nets: Changes<Prefix, ClassId>,
    pods: HashMap<Arc<str>, (Isolation, Isolation)>,
}

impl Pending {
    /// No changes.
    pub fn new() -> Self {
        let (peers, nets) = (Changes(HashMap::new()), Changes(HashMap::new()));
        Self { lists: BTreeMap::new(), removed_pages: Vec::new(), peers, nets, pods: HashMap::new() }
    }

    /// A new list.
    pub fn put_list(&mut self, key: ListKey, rules: Vec<PolicyRule>) {
        self.lists.insert(key, rules);
    }

    /// A list that goes. Numbers of subjects and classes are not used again, so it is new in this plan or goes for
    /// good.
    pub fn remove_list(&mut self, key: ListKey, pages: u16) {
        if self.lists.remove(&key).is_none() {
            self.removed_pages.extend((0..pages).map(|page| key.page(page)));
        }
    }

    /// An entry of `PEERS`.
    pub fn note_peer(&mut self, address: Addr, before: Option<PeerValue>, now: Option<PeerValue>) {
        self.peers.note(address, before, now);
    }

    /// An entry of `PEER_NETS`.
    pub fn note_net(&mut self, prefix: Prefix, before: Option<ClassId>, now: Option<ClassId>) {
        self.nets.note(prefix, before, now);
    }

    /// The subject of a pod.
    pub fn note_pod(&mut self, uid: Arc<str>, before: Isolation, now: Isolation) {
        self.pods.entry(uid).or_insert((before, now)).1 = now;
    }

    /// The plan of all changes, which counts as carried out from now on.
    pub fn take(&mut self) -> Plan {
        let lists = std::mem::take(&mut self.lists).into_iter();
        let rules = lists.flat_map(|(key, rules)| lists::pages(key, &rules)).collect();
        let (peers, removed_peers) = self.peers.drain();
        let (nets, removed_nets) = self.nets.drain();
        let changed = self.pods.drain().filter(|(_, (before, now))| before != now);
        let mut pods = changed.map(|(uid, (_, now))| (uid, now)).collect::<Vec<_>>();
        pods.sort_unstable();
        let peers = peers.into_iter().map(|(_, value)| value).collect();
        let removed_rules = std::mem::take(&mut self.removed_pages);
        Plan { rules, peers, nets, removed_nets, removed_peers, pods, removed_rules }
    }
}
