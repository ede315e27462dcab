//! Addresses, with those who claim them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use naru_abi::{Addr, policy::PeerValue};

/// One address.
#[derive(Default)]
struct Record {
    /// Pods that list it: the order of their claims, and their UIDs.
    claims: Vec<(u64, Arc<str>)>,
    /// Nodes, and pods in a node's network namespace, that list it.
    nodes: u32,
    /// Its entry in `PEERS`.
    entry: Option<PeerValue>,
}

/// The holder of an address, as far as terms tell holders apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A pod, by its UID.
    Pod(Arc<str>),
    /// A node.
    Node,
    /// Nobody that is known.
    Nobody,
}

/// All addresses that somebody lists or that have an entry.
#[derive(Default)]
pub struct Addresses {
    all: BTreeMap<Addr, Record>,
    entries: usize,
}

impl Addresses {
    /// Notes that a pod lists an address.
    pub fn claim(&mut self, address: IpAddr, claim: u64, uid: Arc<str>) {
        self.all.entry(address.into()).or_default().claims.push((claim, uid));
    }

    /// Notes that a pod does not list it any more.
    pub fn disclaim(&mut self, address: IpAddr, uid: &str) {
        if let Some(record) = self.all.get_mut(&address.into()) {
            record.claims.retain(|(_, other)| &**other != uid);
        }
    }

    /// Notes that a node lists an address, or that one node less does.
    pub fn note_node(&mut self, address: IpAddr, is_there: bool) {
        let record = self.all.entry(address.into()).or_default();
        record.nodes = if is_there { record.nodes + 1 } else { record.nodes.saturating_sub(1) };
    }

    /// The holder.
    pub fn owner(&self, address: Addr) -> Owner {
        let Some(record) = self.all.get(&address) else { return Owner::Nobody };
        match record.claims.iter().max() {
            Some((_, uid)) => Owner::Pod(uid.clone()),
            None if record.nodes > 0 => Owner::Node,
            None => Owner::Nobody,
        }
    }

    /// The addresses from `first` to `last`.
    pub fn between(&self, first: Addr, last: Addr) -> impl Iterator<Item = Addr> {
        self.all.range(first..=last).map(|(address, _)| *address)
    }

    /// The entry of an address.
    pub fn entry(&self, address: Addr) -> Option<PeerValue> {
        self.all.get(&address)?.entry
    }

    /// Writes the entry of an address down; an address that nobody lists and that has none is forgotten.
    pub fn set_entry(&mut self, address: Addr, entry: Option<PeerValue>) {
        let record = self.all.entry(address).or_default();
        self.entries = self.entries + usize::from(entry.is_some()) - usize::from(record.entry.is_some());
        record.entry = entry;
        if entry.is_none() && record.claims.is_empty() && record.nodes == 0 {
            self.all.remove(&address);
        }
    }

    /// Number of entries.
    pub const fn entries(&self) -> usize {
        self.entries
    }
}
