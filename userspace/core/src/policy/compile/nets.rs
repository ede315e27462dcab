//! Prefixes: the blocks of rules and the nodes' blocks of pods, as `PEER_NETS` holds them.
//!
//! Every bound of a block or of an exception is a prefix, so that all addresses that have the same longest prefix lie
//! in the same blocks.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use naru_abi::{Addr, Prefix};

use super::{ClassId, TermId};
use crate::policy::model::Block;

/// Bits before the address of an IPv4-mapped one.
const MAPPED_BITS: u32 = 96;

/// One prefix.
#[derive(Default)]
struct Net {
    /// Terms whose block begins here.
    adds: Vec<TermId>,
    /// Terms one of whose exceptions begins here.
    cuts: Vec<TermId>,
    /// Nodes with this block.
    nodes: u32,
    /// The class in `PEER_NETS`; `None` before it is known.
    class: Option<ClassId>,
}

impl Net {
    fn is_needed(&self) -> bool {
        !self.adds.is_empty() || !self.cuts.is_empty() || self.nodes > 0
    }
}

/// All prefixes. That of all IPv4 addresses is always there: without it, a short IPv6 prefix would hold the IPv4
/// addresses, which are stored in their IPv4-mapped form.
pub struct Nets {
    all: BTreeMap<Prefix, Net>,
    /// Prefixes of each length.
    lengths: [u32; 129],
}

/// Combined properties of the prefixes that contain an address.
#[derive(Default)]
pub struct Surroundings {
    /// The blocks, in ascending order.
    pub terms: Vec<TermId>,
    /// True in a node's block of pods.
    pub is_pods: bool,
    /// The class of the longest prefix.
    pub class: ClassId,
}

impl Nets {
    /// The prefix of all IPv4 addresses alone.
    pub fn new() -> Self {
        let mut nets = Self { all: BTreeMap::new(), lengths: [0; 129] };
        nets.entry(all_v4()).nodes = 0;
        nets
    }

    fn entry(&mut self, prefix: Prefix) -> &mut Net {
        let lengths = &mut self.lengths;
        self.all.entry(prefix).or_insert_with(|| {
            if let Some(count) = lengths.get_mut(prefix.prefix_len as usize) {
                *count += 1;
            }
            Net::default()
        })
    }

    /// Adds the block of a term.
    pub fn add(&mut self, term: TermId, block: &Block) {
        self.entry(prefix(block.cidr)).adds.push(term);
        for part in &block.except {
            self.entry(prefix(*part)).cuts.push(term);
        }
    }

    /// Removes the block of a term. Its prefixes stay until [`Nets::forget`].
    pub fn remove(&mut self, term: TermId, block: &Block) {
        self.entry(prefix(block.cidr)).adds.retain(|other| *other != term);
        for part in &block.except {
            self.entry(prefix(*part)).cuts.retain(|other| *other != term);
        }
    }

    /// Notes a node's block of pods, or that one node less has it.
    pub fn note_node(&mut self, block: IpNet, is_there: bool) {
        let net = self.entry(prefix(block.trunc()));
        net.nodes = if is_there { net.nodes + 1 } else { net.nodes.saturating_sub(1) };
    }

    /// The nodes' blocks of pods.
    pub fn node_blocks(&self) -> impl Iterator<Item = Prefix> {
        self.all.iter().filter(|(_, net)| net.nodes > 0).map(|(prefix, _)| *prefix)
    }

    /// The prefixes within one of `areas`.
    pub fn within(&self, areas: &Areas) -> Vec<Prefix> {
        self.all.keys().copied().filter(|prefix| areas.cover(*prefix)).collect()
    }

    /// Returns true if the prefix is a bound, or that of all IPv4 addresses.
    pub fn is_needed(&self, prefix: Prefix) -> bool {
        prefix == all_v4() || self.all.get(&prefix).is_some_and(Net::is_needed)
    }

    /// Forgets a prefix and returns its class.
    pub fn forget(&mut self, prefix: Prefix) -> Option<ClassId> {
        let net = self.all.remove(&prefix)?;
        if let Some(count) = self.lengths.get_mut(prefix.prefix_len as usize) {
            *count = count.saturating_sub(1);
        }
        net.class
    }

    /// Writes the class of a prefix down and returns the one before.
    pub fn set_class(&mut self, prefix: Prefix, class: ClassId) -> Option<ClassId> {
        self.all.get_mut(&prefix)?.class.replace(class)
    }

    /// Returns the combined properties of the prefixes that contain `prefix`, itself included.
    pub fn around(&self, prefix: Prefix) -> Surroundings {
        let mut found = Surroundings::default();
        let mut cuts = Vec::new();
        let first = if is_v4(prefix) { MAPPED_BITS } else { 0 };
        for length in (first..=prefix.prefix_len).filter(|length| self.has_length(*length)) {
            let Some(net) = self.all.get(&truncated(prefix.addr, length)) else { continue };
            found.terms.extend(&net.adds);
            cuts.extend(&net.cuts);
            found.is_pods |= net.nodes > 0;
            found.class = net.class.unwrap_or(0);
        }
        found.terms.retain(|term| !cuts.contains(term));
        found.terms.sort_unstable();
        found
    }

    fn has_length(&self, length: u32) -> bool {
        self.lengths.get(length as usize).is_some_and(|count| *count > 0)
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

/// The prefix of all IPv4 addresses.
pub const fn all_v4() -> Prefix {
    Prefix { prefix_len: MAPPED_BITS, addr: Addr::v4([0; 4]) }
}

/// A range as a prefix.
pub fn prefix(net: IpNet) -> Prefix {
    Prefix::new(net.addr(), net.prefix_len())
}

/// The first `length` bits of an address.
pub fn truncated(address: Addr, length: u32) -> Prefix {
    let bits = u128::from_be_bytes(address.octets);
    let kept = if length == 0 { 0 } else { bits & (u128::MAX << (128 - length.min(128))) };
    Prefix { prefix_len: length, addr: Addr::v6(kept.to_be_bytes()) }
}

/// The first and the last address of a prefix.
pub fn bounds(prefix: Prefix) -> (Addr, Addr) {
    let first = u128::from_be_bytes(prefix.addr.octets);
    let rest = u128::MAX.checked_shr(prefix.prefix_len).unwrap_or(0);
    (prefix.addr, Addr::v6((first | rest).to_be_bytes()))
}

/// Prefixes within which something changed.
#[derive(Default)]
pub struct Areas {
    all: BTreeSet<Prefix>,
    lengths: BTreeSet<u32>,
}

impl Areas {
    /// Notes a prefix.
    pub fn add(&mut self, area: Prefix) {
        if self.all.insert(area) {
            self.lengths.insert(area.prefix_len);
        }
    }

    /// Returns true if no prefix is noted.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns true if a noted prefix, of the same family, holds the whole of this one.
    pub fn cover(&self, prefix: Prefix) -> bool {
        let shorter = if is_v4(prefix) { MAPPED_BITS } else { 0 };
        let lengths = self.lengths.range(shorter..=prefix.prefix_len);
        lengths.into_iter().any(|length| self.all.contains(&truncated(prefix.addr, *length)))
    }

    /// The noted prefixes that do not lie within another one.
    pub fn largest(&self) -> impl Iterator<Item = Prefix> {
        let is_inner = |area: &Prefix| {
            let shorter = if is_v4(*area) { MAPPED_BITS } else { 0 };
            let mut lengths = self.lengths.range(shorter..area.prefix_len);
            lengths.any(|length| self.all.contains(&truncated(area.addr, *length)))
        };
        self.all.iter().copied().filter(move |area| !is_inner(area))
    }
}

fn is_v4(prefix: Prefix) -> bool {
    prefix.prefix_len >= MAPPED_BITS && prefix.addr.is_v4()
}
