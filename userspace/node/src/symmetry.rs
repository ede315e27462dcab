//! Keeping `FLOWS` true: entries of an address that changes hands go at once, together with what connection tracking
//! and the maps of flows to Services have of it; entries of flows that ended go after a while.

use std::net::IpAddr;

use naru_abi::{Addr, FlowKey, FlowValue, pod_flags};
use naru_core::flows::{IDLE, Review, review};

use naru_bpf::{Flows, Pins, Translations};
use naru_netlink::{
    conntrack::{Conntrack, Tracked, Tuple},
    links::LinkError,
};

/// Number of flows about which one ADD or DEL asks connection tracking, some 3 us each: this is how entries go on a
/// node without an agent.
pub const FEW: usize = 64;
/// The same number when half of the table is in use.
const MORE: usize = 1024;

/// Why it was not done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum SymmetryError {
    /// About the map.
    #[error(transparent)]
    Map(#[from] naru_bpf::Error),
    /// About connection tracking.
    #[error(transparent)]
    Conntrack(#[from] LinkError),
}

/// The maps of what must take the stack, and of what the programs translate.
pub struct Records {
    /// Flows.
    pub flows: Flows,
    /// Pairs of hosts for whose flows there was no room.
    pub pairs: Flows,
    /// Flows to Services.
    pub translations: Translations,
}

impl Records {
    /// Opens the maps.
    ///
    /// # Errors
    /// [`naru_bpf::Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: &Pins) -> naru_bpf::Result<Self> {
        let (flows, pairs) = (Flows::open(pins)?, Flows::open_pairs(pins)?);
        Ok(Self { flows, pairs, translations: Translations::open(pins)? })
    }
}

/// Forgets everything about addresses that were given up, so that no packet is translated or sent to the stack on
/// behalf of their last holder. Nothing may lead to them any more, or it is recorded again. Then sweeps [`FEW`] flows.
///
/// # Errors
/// [`SymmetryError`].
pub fn purge(records: &mut Records, addresses: &[IpAddr]) -> Result<(), SymmetryError> {
    let mut conntrack = Conntrack::open()?;
    conntrack.forget(addresses)?;
    let (_, rest) = forget(&mut records.flows, addresses)?;
    forget(&mut records.pairs, addresses)?;
    forget_translations(&mut records.translations, addresses)?;
    sweep_some(&mut records.flows, &mut conntrack, &rest)
}

/// Does the same for addresses that get a new holder, as far as an ADD has time: they were purged when they were given
/// up, unless that failed.
///
/// # Errors
/// [`SymmetryError`].
pub fn purge_again(records: &mut Records, addresses: &[IpAddr]) -> Result<(), SymmetryError> {
    let mut conntrack = Conntrack::open()?;
    let (gone, rest) = forget(&mut records.flows, addresses)?;
    forget(&mut records.pairs, addresses)?;
    forget_translations(&mut records.translations, addresses)?;
    conntrack.forget_at_hand(addresses, &gone.iter().map(tuple).collect::<Vec<_>>())?;
    sweep_some(&mut records.flows, &mut conntrack, &rest)
}

/// Sweeps a few flows, more where they begin to fill the table.
fn sweep_some(flows: &mut Flows, conntrack: &mut Conntrack, rest: &[Record]) -> Result<(), SymmetryError> {
    let is_filling = rest.len() > FEW && rest.len() * 2 > flows.capacity()? as usize;
    sweep_among(flows, conntrack, rest, if is_filling { MORE } else { FEW }).map(drop)
}

/// An entry of `FLOWS`.
type Record = (FlowKey, FlowValue);

/// Forgets the flows of the addresses; returns them, and the entries of others.
fn forget(flows: &mut Flows, addresses: &[IpAddr]) -> naru_bpf::Result<(Vec<FlowKey>, Vec<Record>)> {
    let (mut gone, mut rest) = (Vec::new(), Vec::new());
    for (key, value) in flows.entries()? {
        if addresses.iter().any(|ip| concerns(&key, *ip)) {
            flows.delete(&key)?;
            gone.push(key);
        } else {
            rest.push((key, value));
        }
    }
    Ok((gone, rest))
}

/// Forgets the flows to Services that have one of the addresses at either end: the pod's, or the backend's.
fn forget_translations(translations: &mut Translations, addresses: &[IpAddr]) -> naru_bpf::Result<()> {
    let is_one = |address: Addr| addresses.iter().any(|one| address == (*one).into());
    for (key, flow) in translations.flows.entries()? {
        if is_one(key.source) || is_one(flow.backend) {
            translations.flows.delete(&key)?;
        }
    }
    for (key, _) in translations.answers.entries()? {
        if is_one(key.source) || is_one(key.destination) {
            translations.answers.delete(&key)?;
        }
    }
    Ok(())
}

/// Forgets flows that have not been seen for a while and that connection tracking does not know; asks about `limit` of
/// them at most. Returns the number of entries that went.
///
/// # Errors
/// [`SymmetryError`].
pub fn sweep(flows: &mut Flows, limit: usize) -> Result<usize, SymmetryError> {
    let entries = flows.entries()?;
    sweep_among(flows, &mut Conntrack::open()?, &entries, limit)
}

/// Forgets pairs of hosts that have not been seen for a while and between which connection tracking knows no flow.
/// Returns the number of entries that went.
///
/// # Errors
/// [`SymmetryError`].
pub fn sweep_pairs(pairs: &mut Flows) -> Result<usize, SymmetryError> {
    let now = now();
    let is_idle = |value: &FlowValue| now.saturating_sub(value.last_seen) > IDLE;
    let idle: Vec<FlowKey> =
        pairs.entries()?.into_iter().filter(|(_, value)| is_idle(value)).map(|(key, _)| key).collect();
    if idle.is_empty() {
        return Ok(0);
    }
    let known = Conntrack::open()?.pairs()?;
    let mut gone = 0;
    for key in idle.iter().filter(|key| !known.contains(&[key.source.into(), key.destination.into()])) {
        gone += usize::from(is_unseen_since(pairs, key, now)? && pairs.delete(key)?);
    }
    Ok(gone)
}

/// Returns bits of [`pod_flags`] for the records that exist about the address.
///
/// # Errors
/// The kernel's.
pub fn marks(records: &Records, address: IpAddr) -> naru_bpf::Result<u32> {
    let is_in_pairs = records.pairs.entries()?.iter().any(|(key, _)| concerns(key, address));
    let address = address.into();
    let bit = |is_so: bool, flag: u32| if is_so { flag } else { 0 };
    let of_flows = records.flows.entries()?.iter().fold(0, |marks, (key, _)| {
        marks
            | bit(key.source == address, pod_flags::SENDS_ANSWERS)
            | bit(key.destination == address, pod_flags::RECEIVES_ANSWERS)
    });
    let answers = records.translations.answers.entries()?;
    let is_client = answers.iter().any(|(key, _)| key.destination == address);
    let mut flows = records.translations.flows.entries()?.into_iter();
    let has_clashes = flows.any(|(key, flow)| key.source == address && flow.backend == key.destination);
    let of_services = bit(is_client, pod_flags::USES_SERVICES) | bit(has_clashes, pod_flags::HAS_CLASHES);
    Ok(of_flows | bit(is_in_pairs, pod_flags::IN_PAIRS) | of_services)
}

/// Writes a pod's entry with its [`marks`], and repeats that until a look after the write finds no new marks: each
/// write replaces the element in which programs note what they record meanwhile, and they note it after they recorded
/// it.
///
/// # Errors
/// Those of `look` and `write`.
pub fn enter<E>(
    mut look: impl FnMut() -> Result<u32, E>,
    mut write: impl FnMut(u32) -> Result<(), E>,
) -> Result<(), E> {
    let mut marks = look()?;
    loop {
        write(marks)?;
        match look()? & !marks {
            0 => return Ok(()),
            more => marks |= more,
        }
    }
}

/// The key as connection tracking names it.
fn tuple(key: &FlowKey) -> Tuple {
    Tuple {
        source: key.source.into(),
        destination: key.destination.into(),
        // A protocol number has eight bits; the map keeps it in a whole word.
        protocol: key.protocol as u8,
        source_port: key.source_port,
        destination_port: key.destination_port,
    }
}

fn concerns(key: &FlowKey, address: IpAddr) -> bool {
    key.source == address.into() || key.destination == address.into()
}

fn sweep_among(
    flows: &mut Flows,
    conntrack: &mut Conntrack,
    entries: &[Record],
    limit: usize,
) -> Result<usize, SymmetryError> {
    let now = now();
    let Review { ask, mut orphans } = review(entries, now, limit);
    let known = conntrack.look_up(&ask.iter().map(tuple).collect::<Vec<_>>())?;
    for (key, tracked) in ask.into_iter().zip(known) {
        match tracked {
            // Not asked about again before others.
            Tracked::Yes => renew(flows, &key, now)?,
            Tracked::No | Tracked::Closed => orphans.push(key),
        }
    }
    let mut gone = 0;
    for key in orphans {
        gone += usize::from(is_unseen_since(flows, &key, now)? && flows.delete(&key)?);
    }
    Ok(gone)
}

/// Writes that the flow was seen at `now`, unless a packet was seen meanwhile, or the flow was forgotten.
fn renew(flows: &mut Flows, key: &FlowKey, now: u64) -> naru_bpf::Result<()> {
    if is_unseen_since(flows, key, now)? { flows.insert(key, FlowValue { last_seen: now }) } else { Ok(()) }
}

fn is_unseen_since(flows: &Flows, key: &FlowKey, now: u64) -> naru_bpf::Result<bool> {
    Ok(flows.get(key)?.is_some_and(|value| value.last_seen < now))
}

/// The clock of [`FlowValue::last_seen`], in nanoseconds.
#[must_use]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_mark_that_is_made_between_two_writes_of_an_entry_is_not_lost() {
        use pod_flags::{RECEIVES_ANSWERS, SENDS_ANSWERS};
        // A flow comes after each look: recorded first, then noted in the element that is about to be replaced.
        for arrivals in [vec![], vec![SENDS_ANSWERS], vec![SENDS_ANSWERS, RECEIVES_ANSWERS]] {
            let (records, entry) = (RefCell::new(0), RefCell::new(0));
            let mut arriving = arrivals.iter().copied();
            let look = || -> Result<u32, ()> {
                let found = *records.borrow();
                let came = arriving.next().unwrap_or(0);
                *records.borrow_mut() |= came;
                *entry.borrow_mut() |= came;
                Ok(found)
            };
            enter(look, |marks| {
                *entry.borrow_mut() = marks;
                Ok(())
            })
            .unwrap();
            assert_eq!(*entry.borrow(), *records.borrow(), "{arrivals:?}");
        }
    }
}
