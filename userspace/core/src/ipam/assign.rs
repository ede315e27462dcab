use std::net::IpAddr;

use super::pick::{Ranges, oldest_cooling};
use super::{
    AddressRequest, Assignment, Domain, Family, IpamError, Ledger, Millis, Row, State, Usage, cool, row_of,
    sweep,
};
use crate::ids::{AttachmentId, Generation};

/// Assigns addresses to an attachment. An attachment that asks again from the same namespace keeps its addresses;
/// others get a new address of every family, or none at all. Addresses that the attachment held from another
/// namespace are given back.
pub fn assign<L: Ledger>(
    ledger: &mut L,
    request: &AddressRequest,
    now: Millis,
) -> Result<Assignment, IpamError<L::Error>> {
    sweep(ledger, &request.domain, request.cooling, now)?;
    let held = ledger.held_by(&request.domain, &request.owner)?;
    if let Some(assignment) = keep(ledger, request, &held)? {
        return Ok(assignment);
    }
    for row in &held {
        cool(ledger, row, now)?;
    }
    let generation = ledger.next_generation(Generation(0))?;
    let mut addresses = Vec::new();
    let ranges = Ranges::read(ledger, &request.domain)?;
    let mut chosen = choose_exact(ledger, &ranges, request)?;
    choose_kept(ledger, &ranges, request, &mut chosen)?;
    for (address, note) in chosen {
        hold_kept(ledger, &ranges, request, (address, generation, now), note)?;
        addresses.push(address);
    }
    for family in remaining_families(&ranges, request, &addresses)? {
        let address = choose(ledger, &ranges, request, (family, generation))?;
        hold(ledger, &ranges, request, (address, generation, now))?;
        addresses.push(address);
    }
    addresses.sort_unstable();
    Ok(Assignment { addresses, generation, reused: false, superseded: held })
}

/// Returns true if an attachment that holds these rows, at least one, keeps them when it asks again. Otherwise
/// [`assign`] gives them back, and the kernel objects for them must be gone by then.
#[must_use]
pub fn keeps(request: &AddressRequest, held: &[Row]) -> bool {
    let same_netns = |row: &Row| row.netns.is_none() || row.netns == request.netns;
    let has = |address: &IpAddr| held.iter().any(|row| row.address == *address);
    !held.is_empty() && held.iter().all(same_netns) && request.addresses.iter().all(has)
}

/// The addresses that the attachment holds, if they are what it asks for.
fn keep<L: Ledger>(
    ledger: &mut L,
    request: &AddressRequest,
    held: &[Row],
) -> Result<Option<Assignment>, L::Error> {
    let Some(first) = held.first().filter(|_| keeps(request, held)) else { return Ok(None) };
    for row in held.iter().filter(|row| row.netns != request.netns) {
        let row = Row { netns: request.netns, ..row.clone() };
        ledger.set_row(&row.domain, row.address, Some(&row))?;
    }
    let addresses = held.iter().map(|row| row.address).collect();
    Ok(Some(Assignment { addresses, generation: first.generation, reused: true, superseded: Vec::new() }))
}

/// The requested addresses with their notes; each must be free, cooling or reserved for the pod.
fn choose_exact<L: Ledger>(
    ledger: &L,
    ranges: &Ranges,
    request: &AddressRequest,
) -> Result<Vec<(IpAddr, String)>, IpamError<L::Error>> {
    let mut chosen: Vec<(IpAddr, String)> = Vec::new();
    for &address in &request.addresses {
        if !ranges.active(&request.pool).any(|range| range.offset_of(address).is_some()) {
            return Err(IpamError::Outside { address, pool: request.pool.clone() });
        }
        let note = match row_of(ledger, &request.domain, address)? {
            Some(row) if row.state == State::Reserved && row.pod.is_same(&request.pod) => row.note,
            Some(row) => refuse_taken(&row).map(|()| String::new())?,
            None => String::new(),
        };
        if !chosen.iter().any(|(known, _)| *known == address) {
            chosen.push((address, note));
        }
    }
    Ok(chosen)
}

/// Adds addresses that are reserved for the pod, in families that are wanted and not chosen yet. It is an error if
/// another container of the pod still holds one: the pod gets this address or none.
fn choose_kept<L: Ledger>(
    ledger: &L,
    ranges: &Ranges,
    request: &AddressRequest,
    chosen: &mut Vec<(IpAddr, String)>,
) -> Result<(), IpamError<L::Error>> {
    if request.pod.is_empty() {
        return Ok(());
    }
    for row in ledger.reserved_for(&request.domain, &request.pod)? {
        let family = Family::of(row.address);
        let is_wanted = request.families.is_empty() || request.families.contains(&family);
        let is_here = || ranges.active(&request.pool).any(|range| range.offset_of(row.address).is_some());
        let is_chosen = || chosen.iter().any(|(address, _)| Family::of(*address) == family);
        let of_same_container =
            row.owner.as_ref().is_some_and(|owner| owner.container() == request.owner.container());
        if !is_wanted || is_chosen() || !is_here() || of_same_container {
            continue;
        }
        if row.state != State::Reserved {
            refuse_taken(&row)?;
        }
        chosen.push((row.address, row.note));
    }
    Ok(())
}

/// Refuses a row whose address may not be assigned.
pub(super) fn refuse_taken<E>(row: &Row) -> Result<(), IpamError<E>> {
    match row.state {
        State::Cooling => Ok(()),
        State::Assigned => Err(IpamError::Held { address: row.address, holder: holder(row) }),
        State::Reserved | State::Quarantined => {
            let note = match row.pod.is_empty() {
                true => row.note.clone(),
                false => format!("for pod {}: {}", row.pod, row.note),
            };
            Err(IpamError::Reserved { address: row.address, note })
        }
    }
}

fn holder(row: &Row) -> String {
    let owner = row.owner.as_ref().map(ToString::to_string).unwrap_or_default();
    if row.pod.is_empty() { owner } else { format!("pod {} ({owner})", row.pod) }
}

/// Families that are wanted and for which no address is chosen yet.
fn remaining_families<E>(
    ranges: &Ranges,
    request: &AddressRequest,
    chosen: &[IpAddr],
) -> Result<Vec<Family>, IpamError<E>> {
    let pool = &request.pool;
    let has = |family: &Family| ranges.active(pool).any(|range| range.family() == *family);
    if ranges.active(pool).next().is_none() {
        return Err(IpamError::Empty { pool: pool.clone() });
    }
    if let Some(&family) = request.families.iter().find(|family| !has(family)) {
        return Err(IpamError::NoRange { pool: pool.clone(), family });
    }
    let wanted =
        |family: &Family| has(family) && (request.families.is_empty() || request.families.contains(family));
    let covered = |family: &Family| chosen.iter().any(|address| Family::of(*address) == *family);
    Ok(Family::ALL.into_iter().filter(|family| wanted(family) && !covered(family)).collect())
}

pub(super) fn choose<L: Ledger>(
    ledger: &mut L,
    ranges: &Ranges,
    request: &AddressRequest,
    (family, generation): (Family, Generation),
) -> Result<IpAddr, IpamError<L::Error>> {
    let from = (request.pool.as_str(), family);
    if let Some(address) = ranges.next_free(ledger, from, generation)? {
        return Ok(address);
    }
    if let Some(address) = oldest_cooling(ledger, ranges, from)? {
        return Ok(address);
    }
    let usage = usage_of(ledger, ranges, from)?;
    Err(IpamError::Exhausted { pool: request.pool.clone(), family, usage })
}

pub(super) fn hold<L: Ledger>(
    ledger: &mut L,
    ranges: &Ranges,
    request: &AddressRequest,
    what: (IpAddr, Generation, Millis),
) -> Result<(), L::Error> {
    hold_kept(ledger, ranges, request, what, String::new())
}

/// Holds an address that becomes reserved for the pod again when it is given back, if there is a note.
fn hold_kept<L: Ledger>(
    ledger: &mut L,
    ranges: &Ranges,
    request: &AddressRequest,
    (address, generation, now): (IpAddr, Generation, Millis),
    note: String,
) -> Result<(), L::Error> {
    let row = Row {
        domain: request.domain.clone(),
        address,
        state: State::Assigned,
        owner: Some(request.owner.clone()),
        pod: request.pod.clone(),
        note,
        netns: request.netns,
        ifindex: 0,
        generation,
        since: now,
        confirmed: false,
    };
    ledger.set_row(&request.domain, address, Some(&row))?;
    ranges.mark(ledger, address, true)
}

/// Counts the uses of the addresses in a pool's ranges of one family; draining ranges do not count.
pub fn usage<L: Ledger>(ledger: &L, request: (&Domain, &str, Family)) -> Result<Usage, L::Error> {
    let (domain, pool, family) = request;
    usage_of(ledger, &Ranges::read(ledger, domain)?, (pool, family))
}

fn usage_of<L: Ledger>(
    ledger: &L,
    ranges: &Ranges,
    (pool, family): (&str, Family),
) -> Result<Usage, L::Error> {
    let mut sum = Usage::default();
    for range in ranges.active(pool).filter(|range| range.family() == family) {
        let usage = ledger.usage_within(&range.domain, range.net)?;
        sum.total += u64::from(range.size());
        sum.assigned += usage.assigned;
        sum.cooling += usage.cooling;
        sum.reserved += usage.reserved;
    }
    Ok(sum)
}

/// Records that an attachment's addresses of this generation are wired to an interface of the node.
pub fn confirm<L: Ledger>(
    ledger: &mut L,
    domain: &Domain,
    owner: &AttachmentId,
    (generation, ifindex): (Generation, u32),
) -> Result<(), IpamError<L::Error>> {
    let mut held = ledger.held_by(domain, owner)?;
    held.retain(|row| row.generation == generation);
    if held.is_empty() {
        return Err(IpamError::NotAssigned { owner: owner.to_string(), generation: generation.0 });
    }
    for row in held {
        let row = Row { ifindex, confirmed: true, ..row };
        ledger.set_row(domain, row.address, Some(&row))?;
    }
    Ok(())
}
