//! Conversion of entries that programs and plugins wrote: pods, interfaces, recorded flows.

use std::collections::{BTreeMap, BTreeSet};

use naru_abi::{Addr, FlowKey, FlowValue, InterfaceValue, Plain, PodValue, maps, pod_flags};

use super::{abi4, counters, hold};
use crate::{
    Error, Pins, Result, batch,
    map::{self, failed},
    table::Table,
};

/// Before any new program sees a packet.
pub(super) fn first(older: &Pins, pins: &Pins) -> Result<()> {
    let mut flows = Table::<FlowKey, FlowValue>::open(pins, maps::FLOWS)?;
    replace(&mut flows, old_flows(older)?)?;
    let mut interfaces = Table::<u32, InterfaceValue>::open(pins, maps::INTERFACES)?;
    replace(&mut interfaces, old_interfaces(older)?)?;
    let held = |(address, value)| (address, PodValue { mtu: hold::HELD, ..value });
    let mut pods = Table::<Addr, PodValue>::open(pins, maps::PODS)?;
    replace(&mut pods, old_pods(older)?.into_iter().map(held).collect())?;
    counters::begin(older, pins)?;
    counters::carry(older, pins)
}

/// The second copy, once no old program is attached any more: first flows, then the pods' marks, which say that there
/// are flows, and last the end of the hold.
pub(super) fn second(older: &Pins, pins: &Pins) -> Result<()> {
    let mut flows = Table::<FlowKey, FlowValue>::open(pins, maps::FLOWS)?;
    for (key, old) in old_flows(older)? {
        if flows.get(&key)?.is_none_or(|now| now.last_seen < old.last_seen) {
            flows.put(&key, old)?;
        }
    }
    let mut interfaces = Table::<u32, InterfaceValue>::open(pins, maps::INTERFACES)?;
    replace(&mut interfaces, old_interfaces(older)?)?;
    let mut pods = Table::<Addr, PodValue>::open(pins, maps::PODS)?;
    let known = marks(&flows.entries()?);
    let (mut all, mut sizes) = (BTreeMap::new(), Vec::new());
    for (address, old) in old_pods(older)? {
        let now = pods.get(&address)?.filter(|now| now.generation == old.generation).unwrap_or(old);
        let marks = old.marks() | now.marks() | known.get(&address).copied().unwrap_or_default();
        // New programs know best what the pod has sent since.
        let value = PodValue { pod_mac: now.pod_mac, mtu: hold::HELD, ..old };
        all.insert(address, value.with_marks(marks));
        sizes.push((address, old.mtu));
    }
    replace(&mut pods, all)?;
    settle_marks(&mut pods, &flows)?;
    hold::release(&map::data(&pins.map(maps::PODS), maps::PODS)?, &sizes).map_err(|source| Error::Pin {
        path: pins.map(maps::PODS),
        action: "let packets pass",
        source,
    })?;
    counters::begin(older, pins)?;
    counters::carry(older, pins)
}

/// Completes the marks. A program may have marked an entry just when it was written again; as it records the flow
/// before that, a writer that looks for flows after writing misses none.
fn settle_marks(pods: &mut Table<Addr, PodValue>, flows: &Table<FlowKey, FlowValue>) -> Result<()> {
    loop {
        let known = marks(&flows.entries()?);
        let mut is_settled = true;
        for (address, value) in pods.entries()? {
            let missing = known.get(&address).copied().unwrap_or_default() & !value.marks();
            if missing != 0 {
                pods.put(&address, value.with_marks(value.marks() | missing))?;
                is_settled = false;
            }
        }
        if is_settled {
            return Ok(());
        }
    }
}

/// Returns the marks that the flows require, by address.
fn marks(flows: &[(FlowKey, FlowValue)]) -> BTreeMap<Addr, u32> {
    let mut marks = BTreeMap::new();
    for (key, _) in flows {
        *marks.entry(key.source).or_default() |= pod_flags::SENDS_ANSWERS;
        *marks.entry(key.destination).or_default() |= pod_flags::RECEIVES_ANSWERS;
    }
    marks
}

fn old_pods(older: &Pins) -> Result<BTreeMap<Addr, PodValue>> {
    let entries: Vec<([u8; 16], abi4::OldPod)> = old_entries(older, maps::PODS)?;
    Ok(entries.iter().map(|(key, old)| (Addr::v6(*key), abi4::pod(Addr::v6(*key), old))).collect())
}

fn old_interfaces(older: &Pins) -> Result<BTreeMap<u32, InterfaceValue>> {
    let entries: Vec<(u32, abi4::OldInterface)> = old_entries(older, maps::INTERFACES)?;
    Ok(entries.iter().map(|(ifindex, old)| (*ifindex, abi4::interface(*ifindex, old))).collect())
}

fn old_flows(older: &Pins) -> Result<BTreeMap<FlowKey, FlowValue>> {
    let entries: Vec<(abi4::OldFlowKey, abi4::OldFlow)> = old_entries(older, maps::FLOWS)?;
    let convert = |(key, old): &(abi4::OldFlowKey, abi4::OldFlow)| {
        let key = abi4::flow_key(key);
        (key, abi4::flow(key, old))
    };
    Ok(entries.iter().map(convert).collect())
}

/// Returns every entry of an old map; a map with other sizes than its version's is refused.
pub(super) fn old_entries<K: Plain, V: Plain>(older: &Pins, name: &'static str) -> Result<Vec<(K, V)>> {
    let data = map::data(&older.map(name), name)?;
    batch::entries(&data).map_err(failed(name, "read the older version's"))
}

/// Makes a map of this version hold just these entries: what an earlier process copied may be gone since.
fn replace<K: Plain + Ord, V: Plain>(table: &mut Table<K, V>, entries: BTreeMap<K, V>) -> Result<()> {
    let there: BTreeSet<K> = table.entries()?.into_iter().map(|(key, _)| key).collect();
    for key in there.iter().filter(|key| !entries.contains_key(key)) {
        table.delete(key)?;
    }
    entries.into_iter().try_for_each(|(key, value)| table.put(&key, value))
}
