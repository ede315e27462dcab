use std::{collections::BTreeMap, path::PathBuf};

use aya::maps::{
    Array, HashMap, MapData, PerCpuArray, PerCpuHashMap,
    lpm_trie::{Key, LpmTrie},
};
use naru_abi::{
    Addr, DenialKey, DenialValue, MAX_VERDICTS, Prefix, RuleHits, StateKey, StateValue, VerdictValue, maps,
    policy::{PeerNetValue, PeerValue, RulesKey, RulesValue},
};

use crate::{
    Pins, Result, batch,
    map::{self, Raw, failed, present},
};

/// The pinned maps of policies: the tables, and what the programs left.
pub struct Policies {
    peers: HashMap<MapData, Raw<Addr>, Raw<PeerValue>>,
    nets: LpmTrie<MapData, Raw<Addr>, Raw<PeerNetValue>>,
    rules: HashMap<MapData, Raw<RulesKey>, Raw<RulesValue>>,
    hits: PerCpuHashMap<MapData, u32, Raw<RuleHits>>,
    denials: PerCpuHashMap<MapData, Raw<DenialKey>, Raw<DenialValue>>,
    states: HashMap<MapData, Raw<StateKey>, Raw<StateValue>>,
    verdicts: PerCpuArray<MapData, Raw<VerdictValue>>,
    epoch: Array<MapData, u64>,
    pins: [PathBuf; 3],
}

/// Packets that did not pass, as far as rules tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denial {
    /// The pod, the peer and the port.
    pub key: DenialKey,
    /// Packets of all CPUs; the rest is of the last one.
    pub value: DenialValue,
}

impl Policies {
    /// Opens the maps.
    ///
    /// # Errors
    /// [`crate::Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: &Pins) -> Result<Self> {
        Ok(Self {
            peers: map::open(pins, maps::PEERS)?,
            nets: map::open(pins, maps::PEER_NETS)?,
            rules: map::open(pins, maps::RULES)?,
            hits: map::open(pins, maps::RULE_HITS)?,
            denials: map::open(pins, maps::DENIALS)?,
            states: map::open(pins, maps::STATES)?,
            verdicts: map::open(pins, maps::VERDICTS)?,
            epoch: map::open(pins, maps::POLICY_EPOCH)?,
            pins: [maps::PEERS, maps::RULES, maps::STATES].map(|name| pins.map(name)),
        })
    }

    /// Writes an entry of `PEERS`.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn put_peer(&mut self, value: PeerValue) -> Result<()> {
        self.peers.insert(Raw(value.address), Raw(value), 0).map_err(failed(maps::PEERS, "insert"))?;
        self.changed()
    }

    /// Removes an entry of `PEERS`; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_peer(&mut self, address: Addr) -> Result<bool> {
        let gone = present(self.peers.remove(&Raw(address))).map_err(failed(maps::PEERS, "delete"))?;
        self.changed()?;
        Ok(gone.is_some())
    }

    /// Writes an entry of `PEER_NETS`.
    ///
    /// # Errors
    /// The kernel's; `ENOSPC` when the map is full.
    pub fn put_net(&mut self, prefix: Prefix, class: u32) -> Result<()> {
        let key = Key::new(prefix.prefix_len, Raw(prefix.addr));
        self.nets.insert(&key, Raw(PeerNetValue { class }), 0).map_err(failed(maps::PEER_NETS, "insert"))?;
        self.changed()
    }

    /// Removes an entry of `PEER_NETS`; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_net(&mut self, prefix: Prefix) -> Result<bool> {
        let key = Key::new(prefix.prefix_len, Raw(prefix.addr));
        let gone = present(self.nets.remove(&key)).map_err(failed(maps::PEER_NETS, "delete"))?;
        self.changed()?;
        Ok(gone.is_some())
    }

    /// Writes an entry of `RULES`.
    ///
    /// # Errors
    /// The kernel's; `E2BIG` when the map is full.
    pub fn put_rules(&mut self, value: RulesValue) -> Result<()> {
        self.rules.insert(Raw(value.key), Raw(value), 0).map_err(failed(maps::RULES, "insert"))?;
        self.changed()
    }

    /// Removes an entry of `RULES`; `false` if it was not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_rules(&mut self, key: RulesKey) -> Result<bool> {
        let gone = present(self.rules.remove(&Raw(key))).map_err(failed(maps::RULES, "delete"))?;
        self.changed()?;
        Ok(gone.is_some())
    }

    /// Every entry of `PEERS`, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn peers(&self) -> Result<Vec<PeerValue>> {
        let all: Vec<(Addr, PeerValue)> = entries(&self.pins[0], maps::PEERS)?;
        Ok(all.into_iter().map(|(_, value)| value).collect())
    }

    /// Every entry of `PEER_NETS`, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn nets(&self) -> Result<Vec<(Prefix, u32)>> {
        let entries = self.nets.iter().map(|entry| {
            let (key, Raw(value)) = entry?;
            let Raw(addr) = key.data();
            Ok((Prefix { prefix_len: key.prefix_len(), addr }, value.class))
        });
        entries.collect::<std::result::Result<_, _>>().map_err(failed(maps::PEER_NETS, "list"))
    }

    /// Every entry of `RULES`, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&self) -> Result<Vec<RulesValue>> {
        let all: Vec<(RulesKey, RulesValue)> = entries(&self.pins[1], maps::RULES)?;
        Ok(all.into_iter().map(|(_, value)| value).collect())
    }

    /// The hits of these rules, of all CPUs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hits(&self, rules: impl IntoIterator<Item = u32>) -> Result<BTreeMap<u32, RuleHits>> {
        let mut all = BTreeMap::new();
        for rule in rules {
            let found = present(self.hits.get(&rule, 0)).map_err(failed(maps::RULE_HITS, "look up"))?;
            let sum = all.entry(rule).or_default();
            found.iter().flat_map(|values| values.iter()).for_each(|Raw(of_cpu)| add(sum, of_cpu));
        }
        // What the programs have not summed up yet.
        for place in 0..MAX_VERDICTS {
            let found = self.verdicts.get(&place, 0).map_err(failed(maps::VERDICTS, "look up"))?;
            for Raw(of_cpu) in found.iter() {
                if let Some(sum) = all.get_mut(&of_cpu.rule) {
                    add(sum, &of_cpu.hits);
                }
            }
        }
        Ok(all)
    }

    /// Forgets the hits of a rule.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_hits(&mut self, rule: u32) -> Result<bool> {
        let gone = present(self.hits.remove(&rule)).map_err(failed(maps::RULE_HITS, "delete"))?;
        Ok(gone.is_some())
    }

    /// The last denials, in no order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn denials(&self) -> Result<Vec<Denial>> {
        let mut all = Vec::new();
        for key in self.denials.keys() {
            let Raw(key) = key.map_err(failed(maps::DENIALS, "list"))?;
            let found = present(self.denials.get(&Raw(key), 0)).map_err(failed(maps::DENIALS, "look up"))?;
            let Some(values) = found else { continue };
            let values = values.iter().map(|Raw(value)| *value);
            let packets = values.clone().map(|value| value.packets).sum();
            let last = values.max_by_key(|value| value.last);
            all.extend(last.map(|value| Denial { key, value: DenialValue { packets, ..value } }));
        }
        Ok(all)
    }

    /// Forgets the connections of pods whose host veth is not one of these; returns the number of entries.
    ///
    /// # Errors
    /// The kernel's.
    pub fn keep_states_of(&mut self, is_known: impl Fn(u32) -> bool) -> Result<usize> {
        let all: Vec<(StateKey, StateValue)> = entries(&self.pins[2], maps::STATES)?;
        let mut gone = 0;
        for (key, _) in all.into_iter().filter(|(key, _)| !is_known(key.ifindex)) {
            let removed = present(self.states.remove(&Raw(key))).map_err(failed(maps::STATES, "delete"))?;
            gone += usize::from(removed.is_some());
        }
        self.changed()?;
        Ok(gone)
    }

    /// Makes void what programs concluded from the tables before.
    fn changed(&mut self) -> Result<()> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // A number that no change before had, whoever made it.
        let epoch = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
        self.epoch.set(0, epoch, 0).map_err(failed(maps::POLICY_EPOCH, "write"))
    }
}

const fn add(sum: &mut RuleHits, more: &RuleHits) {
    sum.packets += more.packets;
    sum.bytes += more.bytes;
}

fn entries<K: naru_abi::Plain, V: naru_abi::Plain>(
    pin: &std::path::Path,
    name: &'static str,
) -> Result<Vec<(K, V)>> {
    batch::entries(&map::data(pin, name)?).map_err(failed(name, "list"))
}
