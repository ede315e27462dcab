//! The search for a free address, and the bitmaps that make it quick.

use std::{collections::BTreeMap, net::IpAddr};

use super::chunk::CHUNK_BITS;
use super::index::rewrite;
use super::{Domain, Family, Ledger, Range, RangeId, Space, row_of};
use crate::ids::Generation;

/// A domain's ranges, as one operation sees them.
pub(super) struct Ranges {
    all: Vec<(RangeId, Range)>,
}

impl Ranges {
    pub(super) fn read<L: Space>(ledger: &L, domain: &Domain) -> Result<Self, L::Error> {
        Ok(Self { all: ledger.ranges(domain)? })
    }

    /// The ranges of a pool from which addresses are given out.
    pub(super) fn active<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = &'a Range> {
        self.of_pool(pool).map(|(_, range)| range).filter(|range| !range.draining)
    }

    pub(super) fn of_pool<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = &'a (RangeId, Range)> {
        self.all.iter().filter(move |(_, range)| range.pool == pool)
    }

    /// The names of the pools from which addresses are given out, each at least once.
    pub(super) fn pools(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter(|(_, range)| !range.draining).map(|(_, range)| range.pool.as_str())
    }

    pub(super) fn containing(&self, address: IpAddr) -> impl Iterator<Item = &Range> {
        self.all.iter().map(|(_, range)| range).filter(move |range| range.offset_of(address).is_some())
    }

    /// Marks the address as used or free in every range that contains it.
    pub(super) fn mark<L: Space>(&self, ledger: &mut L, address: IpAddr, used: bool) -> Result<(), L::Error> {
        for (id, range) in &self.all {
            let Some(offset) = range.offset_of(address) else { continue };
            if let Some(mut chunk) = ledger.chunk(*id, offset / CHUNK_BITS)? {
                chunk.set(offset % CHUNK_BITS, used);
                ledger.set_chunk(*id, &chunk)?;
            }
        }
        Ok(())
    }

    /// Marks the addresses as used; each chunk is read and written once.
    pub(super) fn mark_all<L: Space>(&self, ledger: &mut L, addresses: &[IpAddr]) -> Result<(), L::Error> {
        for (id, range) in &self.all {
            let mut chunks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for offset in addresses.iter().filter_map(|address| range.offset_of(*address)) {
                chunks.entry(offset / CHUNK_BITS).or_default().push(offset % CHUNK_BITS);
            }
            for (index, bits) in chunks {
                let Some(mut chunk) = ledger.chunk(*id, index)? else { continue };
                bits.into_iter().for_each(|bit| chunk.set(bit, true));
                ledger.set_chunk(*id, &chunk)?;
            }
        }
        Ok(())
    }

    /// The next free address of a pool after the one given out last, in all its ranges of the family in turn. The
    /// cursor moves there.
    pub(super) fn next_free<L: Ledger>(
        &self,
        ledger: &mut L,
        (pool, family): (&str, Family),
        turn: Generation,
    ) -> Result<Option<IpAddr>, L::Error> {
        for (id, range, start) in self.search_order(pool, family) {
            for _ in 0..2 {
                let Some(offset) = first_free(ledger, (*id, range), start)? else { break };
                let address = range.address_at(offset);
                if offset >= range.size() || row_of(ledger, &range.domain, address)?.is_some() {
                    // The bitmap is wrong: the rows say who holds what.
                    rewrite(ledger, *id, range)?;
                    continue;
                }
                let moved = Range { cursor: (offset + 1) % range.size(), turn, ..range.clone() };
                ledger.set_range(*id, Some(&moved))?;
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// The ranges and the offsets at which to search: the current range from its cursor, the ranges after it, those
    /// before it, and finally the current one from its beginning.
    fn search_order<'a>(&'a self, pool: &'a str, family: Family) -> Vec<(&'a RangeId, &'a Range, u32)> {
        let fits = |(_, range): &&(RangeId, Range)| !range.draining && range.family() == family;
        let mut order: Vec<_> = self.of_pool(pool).filter(fits).map(|(id, range)| (id, range, 0)).collect();
        let latest = order.iter().map(|(_, range, _)| range.turn).max();
        let current = order.iter().position(|(_, range, _)| Some(range.turn) == latest).unwrap_or(0);
        order.rotate_left(current);
        if let Some(first) = order.first_mut() {
            let again = *first;
            first.2 = first.1.cursor;
            order.push(again);
        }
        order
    }
}

/// The next offset that the bitmap calls free. A chunk that claims a free address and has none yields its last
/// address, at which the caller finds the fault.
fn first_free<L: Space>(
    ledger: &L,
    (id, range): (RangeId, &Range),
    from: u32,
) -> Result<Option<u32>, L::Error> {
    let (index, within) = (from / CHUNK_BITS, from % CHUNK_BITS);
    let here = ledger.chunk(id, index)?.and_then(|chunk| chunk.first_free(within));
    if let Some(offset) = here {
        return Ok(Some(index * CHUNK_BITS + offset));
    }
    let next = ledger.chunk_with_room(id, index.saturating_add(1))?;
    let next = next.filter(|chunk| chunk.index <= (range.size() - 1) / CHUNK_BITS);
    Ok(next.map(|chunk| chunk.index * CHUNK_BITS + chunk.first_free(0).unwrap_or(CHUNK_BITS - 1)))
}

/// The address of a pool that has been cooling for the longest time.
pub(super) fn oldest_cooling<L: Ledger>(
    ledger: &L,
    ranges: &Ranges,
    (pool, family): (&str, Family),
) -> Result<Option<IpAddr>, L::Error> {
    let mut oldest = None;
    for range in ranges.active(pool).filter(|range| range.family() == family) {
        let row = ledger.oldest_cooling(&range.domain, Some(range.net))?;
        let row = row.filter(|row| range.offset_of(row.address).is_some());
        oldest = [oldest, row.map(|row| (row.since, row.address))].into_iter().flatten().min();
    }
    Ok(oldest.map(|(_, address)| address))
}
