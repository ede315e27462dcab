//! The required layout of the maps, checked before a pinned one is used, because nothing else checks it.

use std::collections::BTreeSet;

use aya::maps::{MapInfo, MapType};
use naru_abi::{
    Addr, AffinityKey, AffinityValue, AnswerValue, BackendKey, BackendValue, ConfigSlots, Counter, DenialKey,
    DenialValue, FlowKey, FlowValue, FragmentKey, InterfaceValue, MemberKey, NextHopValue, PodSlot, PodValue,
    PolicyScratch, Prefix, RouteValue, RuleHits, STATS_ENTRIES, ServiceCounters, ServiceKey, ServiceScratch,
    ServiceState, ServiceValue, SocketNote, StateKey, StateValue, TranslationValue, VerdictValue, maps,
    policy::{PeerNetValue, PeerValue, RulesKey, RulesValue},
};

use crate::{
    Error, Pins, Result, Sizes,
    map::{data, failed},
};

/// Type, key size, value size and capacity of a map.
type Layout = (MapType, u32, u32, u32);

fn layout(name: &str, sizes: Sizes) -> Layout {
    let (kind, key, value) = match name {
        maps::PODS => (MapType::Hash, size_of::<Addr>(), size_of::<PodValue>()),
        maps::INTERFACES => (MapType::Hash, size_of::<u32>(), size_of::<InterfaceValue>()),
        maps::ROUTES => (MapType::LpmTrie, size_of::<Prefix>(), size_of::<RouteValue>()),
        maps::FLOWS | maps::FLOW_PAIRS => (MapType::Hash, size_of::<FlowKey>(), size_of::<FlowValue>()),
        maps::CONFIG => (MapType::Array, size_of::<u32>(), size_of::<ConfigSlots>()),
        maps::STATS => (MapType::PerCpuArray, size_of::<u32>(), size_of::<Counter>()),
        maps::NEXT_HOPS => (MapType::PerCpuArray, size_of::<u32>(), size_of::<NextHopValue>()),
        maps::POD_SLOTS => (MapType::PerCpuArray, size_of::<u32>(), size_of::<PodSlot>()),
        maps::SERVICE_STATE => (MapType::Array, size_of::<u32>(), size_of::<ServiceState>()),
        maps::SERVICES => (MapType::Hash, size_of::<ServiceKey>(), size_of::<ServiceValue>()),
        maps::BACKENDS => (MapType::Hash, size_of::<BackendKey>(), size_of::<BackendValue>()),
        maps::MEMBERS => (MapType::Hash, size_of::<MemberKey>(), size_of::<u32>()),
        maps::AFFINITY => (MapType::LruHash, size_of::<AffinityKey>(), size_of::<AffinityValue>()),
        maps::TRANSLATIONS => (MapType::Hash, size_of::<FlowKey>(), size_of::<TranslationValue>()),
        maps::ANSWERS => (MapType::Hash, size_of::<FlowKey>(), size_of::<AnswerValue>()),
        maps::FRAGMENTS => (MapType::LruHash, size_of::<FragmentKey>(), size_of::<Addr>()),
        maps::SERVICE_STATS => (MapType::PerCpuHash, size_of::<u32>(), size_of::<ServiceCounters>()),
        maps::SERVICE_SCRATCH => (MapType::PerCpuArray, size_of::<u32>(), size_of::<ServiceScratch>()),
        maps::PEERS => (MapType::Hash, size_of::<Addr>(), size_of::<PeerValue>()),
        maps::PEER_NETS => (MapType::LpmTrie, size_of::<Prefix>(), size_of::<PeerNetValue>()),
        maps::RULES => (MapType::Hash, size_of::<RulesKey>(), size_of::<RulesValue>()),
        maps::RULE_HITS => (MapType::PerCpuHash, size_of::<u32>(), size_of::<RuleHits>()),
        maps::STATES => (MapType::Hash, size_of::<StateKey>(), size_of::<StateValue>()),
        maps::SOCKETS => (MapType::SkStorage, size_of::<u32>(), size_of::<SocketNote>()),
        maps::DENIALS => (MapType::LruPerCpuHash, size_of::<DenialKey>(), size_of::<DenialValue>()),
        maps::PASSED_FRAGMENTS => (MapType::LruHash, size_of::<FragmentKey>(), size_of::<u32>()),
        maps::VERDICTS => (MapType::PerCpuArray, size_of::<u32>(), size_of::<VerdictValue>()),
        maps::POLICY_EPOCH => (MapType::Array, size_of::<u32>(), size_of::<u64>()),
        maps::POLICY_SCRATCH => (MapType::PerCpuArray, size_of::<u32>(), size_of::<PolicyScratch>()),
        _ => (MapType::PerCpuHash, size_of::<u32>(), size_of::<PodSlot>()),
    };
    (kind, key as u32, value as u32, capacity(name, sizes))
}

/// The capacity of a map.
pub(crate) fn capacity(name: &str, sizes: Sizes) -> u32 {
    match name {
        maps::CONFIG => 1,
        maps::STATS => STATS_ENTRIES,
        maps::NEXT_HOPS => naru_abi::MAX_NEXT_HOPS,
        maps::POD_SLOTS => naru_abi::POD_SLOTS,
        maps::ROUTES => sizes.routes,
        maps::FLOWS => sizes.flows,
        maps::FLOW_PAIRS => naru_abi::MAX_FLOW_PAIRS,
        maps::SERVICE_STATE | maps::SERVICE_SCRATCH | maps::POLICY_SCRATCH | maps::POLICY_EPOCH => 1,
        maps::SERVICES | maps::SERVICE_STATS => naru_abi::MAX_SERVICES,
        maps::BACKENDS => naru_abi::MAX_BACKENDS,
        maps::MEMBERS => naru_abi::MAX_MEMBERS,
        maps::AFFINITY => naru_abi::MAX_AFFINITY,
        maps::TRANSLATIONS | maps::ANSWERS => naru_abi::MAX_TRANSLATIONS,
        maps::FRAGMENTS => naru_abi::MAX_FRAGMENTS,
        maps::PEERS => naru_abi::MAX_PEERS,
        maps::PEER_NETS => naru_abi::MAX_PEER_NETS,
        maps::RULES => naru_abi::MAX_RULES,
        maps::RULE_HITS => naru_abi::MAX_RULE_HITS,
        maps::STATES => naru_abi::MAX_STATES,
        // The kernel keeps it with the sockets.
        maps::SOCKETS => 0,
        maps::DENIALS => naru_abi::MAX_DENIALS,
        maps::PASSED_FRAGMENTS => naru_abi::MAX_PASSED_FRAGMENTS,
        maps::VERDICTS => naru_abi::MAX_VERDICTS,
        _ => sizes.pods,
    }
}

/// Checks every pinned map of these, and returns the names of those that are not pinned yet.
pub(crate) fn check(pins: &Pins, sizes: Sizes, names: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for name in names.iter().copied() {
        if pins.map(name).exists() {
            check_one(pins, name, sizes)?;
        } else {
            missing.push(name);
        }
    }
    Ok(missing)
}

fn check_one(pins: &Pins, name: &'static str, sizes: Sizes) -> Result<()> {
    let path = pins.map(name);
    let info = data(&path, name)?.info().map_err(failed(name, "read"))?;
    let (kind, key, value, capacity) = layout(name, sizes);
    let found_kind = info.map_type().map_err(failed(name, "read type"))?;
    let facts = [
        ("type", found_kind as u32, kind as u32),
        ("key size", info.key_size(), key),
        ("value size", info.value_size(), value),
        ("capacity", info.max_entries(), capacity),
    ];
    match facts.into_iter().find(|(_, found, wanted)| found != wanted) {
        None => Ok(()),
        Some((property, found, wanted)) => Err(Error::Mismatch { path, property, found, wanted }),
    }
}

/// The kernel's numbers of the pinned maps.
pub(crate) fn pinned(pins: &Pins) -> Result<BTreeSet<u32>> {
    let all = maps::ALL.into_iter().chain(maps::OF_POLICIES);
    all.filter(|name| pins.map(name).exists()).map(|name| number(pins, name)).collect()
}

/// The kernel's number of a pinned map.
pub(crate) fn number(pins: &Pins, name: &'static str) -> Result<u32> {
    Ok(data(&pins.map(name), name)?.info().map_err(failed(name, "read"))?.id())
}

/// Returns the capacities of the pinned maps, which a later install must request; `None` before the first install.
///
/// # Errors
/// The kernel's.
pub fn installed_sizes(pins: &Pins) -> Result<Option<Sizes>> {
    if pins.first_missing().is_some() {
        return Ok(None);
    }
    let read = |name| -> Result<u32> {
        let info: MapInfo = data(&pins.map(name), name)?.info().map_err(failed(name, "read"))?;
        Ok(info.max_entries())
    };
    Ok(Some(Sizes { pods: read(maps::PODS)?, routes: read(maps::ROUTES)?, flows: read(maps::FLOWS)? }))
}
