//! Addresses of other nodes' pods before the source says them itself: each node lends those that it has given out.
//!
//! A node is believed about its own pods and its own blocks only. What the source says of a family wins over what is
//! lent, and a pod that the source does not know has nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;

use super::model::{Event, Pod};

/// Addresses by the UIDs of pods.
pub type Lending = BTreeMap<String, BTreeSet<IpAddr>>;

/// The addresses that other nodes lend, and the pods that may need them.
#[derive(Debug, Default)]
pub struct Lent {
    node: String,
    blocks: HashMap<String, Vec<IpNet>>,
    /// By the node that lends them.
    lendings: HashMap<String, Lending>,
    /// Pods of other nodes that lack a family, as the source says them.
    said: HashMap<String, Arc<Pod>>,
    /// Addresses that are not lent any more. They stay until the source says them or the pod is gone: a node takes them
    /// back when the source has them, and the two words come here in any order.
    parted: Lending,
}

/// True if one of the addresses is of the family of `address`.
#[must_use]
pub fn has_family<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>, address: IpAddr) -> bool {
    addresses.into_iter().any(|other| other.is_ipv4() == address.is_ipv4())
}

impl Lent {
    /// Nothing is lent to the node of that name, which knows its own pods.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), ..Self::default() }
    }

    /// Takes the source's changes and what nodes lend now; `None` stands for a node that lends nothing any more.
    /// Returns the changes with the lent addresses in them.
    pub fn take(&mut self, events: Vec<Event>, lendings: Vec<(String, Option<Lending>)>) -> Vec<Event> {
        let mut changed = BTreeSet::new();
        for (node, lending) in lendings {
            if node != self.node {
                self.lend(node, lending, &mut changed);
            }
        }
        let mut all = Vec::with_capacity(events.len());
        for event in events {
            match event {
                Event::Pod(uid, Some(pod)) => {
                    if self.hear(&uid, &pod, &mut changed) {
                        changed.insert(uid);
                    } else {
                        all.push(Event::Pod(uid, Some(pod)));
                    }
                }
                Event::Pod(uid, None) => {
                    self.forget(&uid);
                    all.push(Event::Pod(uid, None));
                }
                Event::Node(name, node) => {
                    let blocks = node.as_ref().map_or_else(Vec::new, |node| node.blocks.clone());
                    self.set_blocks(&name, blocks, &mut changed);
                    all.push(Event::Node(name, node));
                }
                other => all.push(other),
            }
        }
        let known = changed.into_iter().filter_map(|uid| self.said.get(&uid));
        all.extend(known.map(|pod| Event::Pod(pod.uid.clone(), Some(self.merged(pod)))));
        all
    }

    fn lend(&mut self, node: String, lending: Option<Lending>, changed: &mut BTreeSet<String>) {
        let before = self.lendings.remove(&node).unwrap_or_default();
        let has_parted = lending.is_some();
        let now = lending.unwrap_or_default();
        for (uid, addresses) in &before {
            if now.get(uid) != Some(addresses) {
                changed.insert(uid.clone());
            }
            if has_parted && !now.contains_key(uid) && self.said.contains_key(uid) {
                self.parted.insert(uid.clone(), addresses.clone());
            }
        }
        for (uid, addresses) in now.iter().filter(|(uid, addresses)| before.get(*uid) != Some(*addresses)) {
            changed.insert(uid.clone());
            self.parted.remove(uid);
            let blocks = self.blocks.get(&node).map_or(&[][..], Vec::as_slice);
            let own = addresses.iter().filter(|address| blocks.iter().any(|block| block.contains(*address)));
            self.give_up(&own.copied().collect(), changed);
        }
        if !now.is_empty() {
            self.lendings.insert(node, now);
        }
    }

    /// Takes a pod's word. Returns true if it lacks a family, so that something may be lent to it.
    fn hear(&mut self, uid: &str, pod: &Arc<Pod>, changed: &mut BTreeSet<String>) -> bool {
        let is_whole = has_family(&pod.addresses, IpAddr::from([0; 4]))
            && has_family(&pod.addresses, IpAddr::from([0; 16]));
        if let Some(parted) = self.parted.get_mut(uid) {
            parted.retain(|address| !has_family(&pod.addresses, *address));
        }
        self.parted.retain(|_, addresses| !addresses.is_empty());
        if pod.is_member() {
            self.give_up(&pod.addresses.iter().copied().collect(), changed);
        }
        if is_whole || !pod.is_member() || pod.node == self.node {
            self.forget(uid);
            return false;
        }
        self.said.insert(uid.to_owned(), pod.clone());
        true
    }

    /// Another pod has these addresses now.
    fn give_up(&mut self, addresses: &BTreeSet<IpAddr>, changed: &mut BTreeSet<String>) {
        for (uid, parted) in &mut self.parted {
            let before = parted.len();
            parted.retain(|address| !addresses.contains(address));
            if parted.len() != before {
                changed.insert(uid.clone());
            }
        }
        self.parted.retain(|_, addresses| !addresses.is_empty());
    }

    fn forget(&mut self, uid: &str) {
        self.said.remove(uid);
        self.parted.remove(uid);
    }

    fn set_blocks(&mut self, node: &str, blocks: Vec<IpNet>, changed: &mut BTreeSet<String>) {
        if self.blocks.get(node) != Some(&blocks) {
            changed.extend(self.lendings.get(node).into_iter().flatten().map(|(uid, _)| uid.clone()));
            changed.extend(self.parted.keys().cloned());
            self.blocks.insert(node.to_owned(), blocks);
        }
    }

    /// The pod with what its own node lends it.
    fn merged(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        let lent = self.lendings.get(&pod.node).and_then(|lending| lending.get(&pod.uid));
        let Some(lent) = lent.or_else(|| self.parted.get(&pod.uid)) else { return pod.clone() };
        let blocks = self.blocks.get(&pod.node).map_or(&[][..], Vec::as_slice);
        let is_good = |address: &&IpAddr| {
            !has_family(&pod.addresses, **address) && blocks.iter().any(|block| block.contains(*address))
        };
        let lent: Vec<IpAddr> = lent.iter().filter(is_good).copied().collect();
        if lent.is_empty() {
            return pod.clone();
        }
        let addresses = pod.addresses.iter().copied().chain(lent).collect();
        Arc::new(Pod { addresses, ..Pod::clone(pod) })
    }
}

#[cfg(test)]
mod tests;
