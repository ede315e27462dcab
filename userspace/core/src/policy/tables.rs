//! Tables in memory, read as the programs read them: what a plan comes to can be judged without a kernel.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use naru_abi::{
    Addr, Prefix,
    policy::{Direction, Judgement, PeerValue, PolicyTables, Question, RulesKey, RulesValue, judge},
};

use super::{
    compile::{Isolation, Plan},
    oracle::Packet,
};

/// The tables.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    peers: HashMap<Addr, PeerValue>,
    nets: HashMap<Prefix, u32>,
    lengths: BTreeSet<u32>,
    rules: HashMap<RulesKey, RulesValue>,
    pods: HashMap<Arc<str>, Isolation>,
}

/// One write to the tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// An entry of `RULES`.
    Rules(RulesValue),
    /// An entry of `PEERS`.
    Peer(PeerValue),
    /// An entry of `PEER_NETS`.
    Net(Prefix, u32),
    /// The removal of an entry of `PEER_NETS`.
    RemoveNet(Prefix),
    /// The removal of an entry of `PEERS`.
    RemovePeer(Addr),
    /// The subject of a pod.
    Pod(Arc<str>, Isolation),
    /// The removal of an entry of `RULES`.
    RemoveRules(RulesKey),
}

/// The writes of a plan, in their order.
pub fn writes(plan: &Plan) -> impl Iterator<Item = Write> {
    let rules = plan.rules.iter().map(|value| Write::Rules(*value));
    let peers = plan.peers.iter().map(|value| Write::Peer(*value));
    let nets = plan.nets.iter().map(|(prefix, class)| Write::Net(*prefix, *class));
    let removed_nets = plan.removed_nets.iter().map(|prefix| Write::RemoveNet(*prefix));
    let removed_peers = plan.removed_peers.iter().map(|address| Write::RemovePeer(*address));
    let pods = plan.pods.iter().map(|(uid, isolation)| Write::Pod(uid.clone(), *isolation));
    let removed_rules = plan.removed_rules.iter().map(|key| Write::RemoveRules(*key));
    rules.chain(peers).chain(nets).chain(removed_nets).chain(removed_peers).chain(pods).chain(removed_rules)
}

impl Tables {
    /// Carries out a plan.
    pub fn carry_out(&mut self, plan: &Plan) {
        for write in writes(plan) {
            self.write(write);
        }
    }

    /// Makes one write.
    pub fn write(&mut self, write: Write) {
        match write {
            Write::Rules(value) => drop(self.rules.insert(value.key, value)),
            Write::Peer(value) => drop(self.peers.insert(value.address, value)),
            Write::Net(prefix, class) => {
                self.lengths.insert(prefix.prefix_len);
                self.nets.insert(prefix, class);
            }
            Write::RemoveNet(prefix) => drop(self.nets.remove(&prefix)),
            Write::RemovePeer(address) => drop(self.peers.remove(&address)),
            Write::Pod(uid, isolation) if isolation.subject == 0 => drop(self.pods.remove(&uid)),
            Write::Pod(uid, isolation) => drop(self.pods.insert(uid, isolation)),
            Write::RemoveRules(key) => drop(self.rules.remove(&key)),
        }
    }

    /// Judges a packet of a pod of this node, or to it; `None` if the pod is not judged in that direction.
    #[must_use]
    pub fn judge(&self, uid: &str, packet: &Packet) -> Option<Judgement> {
        let isolation = self.pods.get(uid)?;
        let is_judged = match packet.direction {
            Direction::Ingress => isolation.ingress,
            Direction::Egress => isolation.egress,
        };
        let question = Question {
            subject: isolation.subject,
            direction: packet.direction,
            peer: packet.peer.into(),
            protocol: packet.protocol,
            port: packet.port,
        };
        is_judged.then(|| judge(self, &question))
    }

    /// Numbers of entries of `PEERS`, `PEER_NETS` and `RULES`.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.peers.len(), self.nets.len(), self.rules.len())
    }
}

impl PolicyTables for Tables {
    fn peer(&self, address: &Addr) -> Option<PeerValue> {
        self.peers.get(address).copied()
    }

    /// As an LPM trie of the kernel: it knows nothing of families, only of bits.
    fn net(&self, address: &Addr) -> u32 {
        let bits = u128::from_be_bytes(address.octets);
        let at = |length: &u32| {
            let kept = u128::MAX.checked_shl(128 - length).unwrap_or(0) & bits;
            let addr = Addr { octets: kept.to_be_bytes() };
            self.nets.get(&Prefix { prefix_len: *length, addr }).copied()
        };
        self.lengths.iter().rev().find_map(at).unwrap_or(0)
    }

    fn page(&self, key: &RulesKey) -> Option<&RulesValue> {
        self.rules.get(key)
    }
}
