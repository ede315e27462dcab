use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::index::rewrite;
use super::pick::Ranges;
use super::{
    Domain, Ledger, Millis, PoolSpec, Range, RangeChanges, RangeId, Reservation, Row, State, row_of,
};
use crate::ids::{Generation, PodName};

/// Gives a pool these ranges and reservations in place of its present ones. A range that is left out is removed at
/// once if no address in it is in use; else it drains: no address is given out from it any more, and it goes with its
/// last address.
pub fn set_ranges<L: Ledger>(ledger: &mut L, spec: &PoolSpec, now: Millis) -> Result<RangeChanges, L::Error> {
    let nets = wanted_nets(spec);
    let before = Ranges::read(ledger, &spec.domain)?;
    let known = |net: &IpNet| before.of_pool(&spec.pool).any(|(_, range)| range.net == *net);
    let added: Vec<IpNet> = nets.iter().copied().filter(|net| !known(net)).collect();
    for net in &added {
        add(ledger, spec, *net)?;
    }
    for (id, range) in before.of_pool(&spec.pool) {
        let draining = !nets.contains(&range.net);
        let covered = nets.iter().any(|net| net.contains(&range.net));
        if draining && covered {
            ledger.set_range(*id, None)?;
        } else if draining != range.draining {
            ledger.set_range(*id, Some(&Range { draining, ..range.clone() }))?;
        }
    }
    let ranges = Ranges::read(ledger, &spec.domain)?;
    let conflicts = reserve(ledger, &ranges, spec, now)?;
    drop_drained(ledger, &spec.domain)?;
    let after = Ranges::read(ledger, &spec.domain)?;
    Ok(RangeChanges { added, conflicts, ..changes(&before, &after, &spec.pool) })
}

fn changes(before: &Ranges, after: &Ranges, pool: &str) -> RangeChanges {
    let nets = |ranges: &Ranges| ranges.of_pool(pool).map(|(_, range)| range.net).collect::<Vec<_>>();
    let left = nets(after);
    let removed = nets(before).into_iter().filter(|net| !left.contains(net)).collect();
    let draining =
        after.of_pool(pool).filter(|(_, range)| range.draining).map(|(_, range)| range.net).collect();
    RangeChanges { removed, draining, ..RangeChanges::default() }
}

/// The ranges without host bits, without doubles and without those that lie in another.
fn wanted_nets(spec: &PoolSpec) -> Vec<IpNet> {
    let all: Vec<IpNet> = spec.ranges.iter().map(IpNet::trunc).collect();
    let mut nets = Vec::new();
    for net in &all {
        let inside = |other: &IpNet| other != net && other.contains(net);
        if !nets.contains(net) && !all.iter().any(inside) {
            nets.push(*net);
        }
    }
    nets
}

/// Adds a range; addresses that the ledger holds in it already are marked as used.
fn add<L: Ledger>(ledger: &mut L, spec: &PoolSpec, net: IpNet) -> Result<(), L::Error> {
    let (domain, pool) = (spec.domain.clone(), spec.pool.clone());
    let mut range = Range { domain, pool, net, draining: false, cursor: 0, turn: Generation(0) };
    range.cursor = u32::try_from(spec.start % u64::from(range.size())).unwrap_or(0);
    let id = ledger.add_range(&range)?;
    rewrite(ledger, id, &range)
}

/// Removes the draining ranges in which no address is in use, and the reservations that lie only in them.
pub(super) fn drop_drained<L: Ledger>(ledger: &mut L, domain: &Domain) -> Result<(), L::Error> {
    let ranges = ledger.ranges(domain)?;
    for (id, range) in ranges.iter().filter(|(_, range)| range.draining) {
        if ledger.in_use(domain, range.net)? {
            continue;
        }
        ledger.set_range(*id, None)?;
        drop_reserved(ledger, range, &others(&ranges, *id))?;
    }
    Ok(())
}

fn others(ranges: &[(RangeId, Range)], id: RangeId) -> Vec<&Range> {
    ranges.iter().filter(|(other, _)| *other != id).map(|(_, range)| range).collect()
}

fn drop_reserved<L: Ledger>(ledger: &mut L, range: &Range, others: &[&Range]) -> Result<(), L::Error> {
    for row in ledger.rows_within(&range.domain, range.net, Some(State::Reserved))? {
        let shared = others.iter().any(|other| other.offset_of(row.address).is_some());
        if !shared {
            ledger.set_row(&range.domain, row.address, None)?;
        }
    }
    Ok(())
}

/// Makes the reserved addresses of the pool's ranges those of the spec; returns those that pods hold.
fn reserve<L: Ledger>(
    ledger: &mut L,
    ranges: &Ranges,
    spec: &PoolSpec,
    now: Millis,
) -> Result<Vec<Row>, L::Error> {
    let wanted = wanted_reservations(ranges, spec);
    forget_reservations(ledger, ranges, spec, &wanted)?;
    let mut conflicts = Vec::new();
    for (address, kept) in wanted {
        match row_of(ledger, &spec.domain, address)? {
            Some(row) if row.state == State::Assigned && !kept.pod.is_same(&row.pod) => conflicts.push(row),
            row => keep(ledger, ranges, (row.as_ref(), &spec.domain, &kept), now)?,
        }
    }
    Ok(conflicts)
}

/// Writes a reservation over a row that is not another pod's.
pub(super) fn keep<L: Ledger>(
    ledger: &mut L,
    ranges: &Ranges,
    (row, domain, kept): (Option<&Row>, &Domain, &Reservation),
    now: Millis,
) -> Result<(), L::Error> {
    let address = kept.address;
    let row = match row {
        Some(row) if row.state == State::Quarantined => return Ok(()),
        Some(row) if row.note == kept.note && row.pod == kept.pod => return Ok(()),
        Some(row) if row.state == State::Assigned && row.note == kept.note => return Ok(()),
        Some(row) if row.state == State::Assigned => Row { note: kept.note.clone(), ..row.clone() },
        _ => Row::kept_for(domain.clone(), address, (&kept.pod, &kept.note), now),
    };
    ledger.set_row(domain, address, Some(&row))?;
    ranges.mark(ledger, address, true)
}

/// The reservations that the pool's ranges should have.
fn wanted_reservations(ranges: &Ranges, spec: &PoolSpec) -> BTreeMap<IpAddr, Reservation> {
    let mut wanted = BTreeMap::new();
    let by_address = |kept: &Reservation| (kept.address, kept.clone());
    let by_shape = |(address, note): (IpAddr, &str)| {
        (address, Reservation { address, note: note.to_owned(), pod: PodName::default() })
    };
    for range in ranges.active(&spec.pool) {
        wanted.extend(range.kept((spec.keep_edges, spec.keep_anycast)).into_iter().map(by_shape));
        let inside = spec.reserved.iter().filter(|kept| range.offset_of(kept.address).is_some());
        wanted.extend(inside.map(by_address));
    }
    wanted
}

/// Frees addresses that were reserved for this pool alone and are to be reserved no longer.
fn forget_reservations<L: Ledger>(
    ledger: &mut L,
    ranges: &Ranges,
    spec: &PoolSpec,
    wanted: &BTreeMap<IpAddr, Reservation>,
) -> Result<(), L::Error> {
    for range in ranges.active(&spec.pool) {
        for row in ledger.rows_within(&spec.domain, range.net, Some(State::Reserved))? {
            let foreign = ranges.containing(row.address).any(|other| other.pool != spec.pool);
            if !wanted.contains_key(&row.address) && !foreign {
                ledger.set_row(&spec.domain, row.address, None)?;
                ranges.mark(ledger, row.address, false)?;
            }
        }
    }
    Ok(())
}
