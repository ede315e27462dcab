//! Comparison of the bitmaps with the rows. A bitmap that differs is found and made again from the rows.

use std::fmt;
use std::net::IpAddr;

use super::chunk::CHUNK_BITS;
use super::{Chunk, Domain, Ledger, Range, RangeId};

/// Neighbouring addresses of a range for which its bitmap and the rows differ.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IndexFault {
    /// The domain in which they are unique.
    pub domain: Domain,
    /// The range's pool.
    pub pool: String,
    /// The first of them.
    pub first: IpAddr,
    /// The last of them.
    pub last: IpAddr,
    /// True if rows hold them and the bitmap calls them free; false if nobody holds them and the bitmap calls them
    /// used.
    pub held: bool,
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, pool, first, last, held } = self;
        write!(f, "index of {domain}, pool {pool}: {first}")?;
        if first != last {
            write!(f, "-{last}")?;
        }
        f.write_str(if *held { " is held, and free in the index" } else { " is kept, and nobody holds it" })
    }
}

/// Finds the faults in the bitmaps of a domain's ranges.
///
/// # Errors
/// The store's.
pub fn index_faults<L: Ledger>(ledger: &L, domain: &Domain) -> Result<Vec<IndexFault>, L::Error> {
    let mut faults = Vec::new();
    for (id, range) in ledger.ranges(domain)? {
        for right in wanted(ledger, &range)? {
            let found = ledger.chunk(id, right.index)?;
            if found.as_ref() != Some(&right) {
                faults.extend(spans(&range, found.as_ref(), &right));
            }
        }
    }
    Ok(faults)
}

/// Makes the bitmaps agree with the rows; returns the faults that were there.
///
/// # Errors
/// The store's.
pub fn mend_index<L: Ledger>(ledger: &mut L, domain: &Domain) -> Result<Vec<IndexFault>, L::Error> {
    let faults = index_faults(ledger, domain)?;
    for (id, range) in ledger.ranges(domain)? {
        rewrite(ledger, id, &range)?;
    }
    Ok(faults)
}

/// Makes the bitmap of a range agree with the rows.
pub(super) fn rewrite<L: Ledger>(ledger: &mut L, id: RangeId, range: &Range) -> Result<(), L::Error> {
    wanted(ledger, range)?.iter().try_for_each(|chunk| ledger.set_chunk(id, chunk))
}

/// A range's chunks, computed from the rows.
fn wanted<L: Ledger>(ledger: &L, range: &Range) -> Result<Vec<Chunk>, L::Error> {
    let rows = ledger.rows_within(&range.domain, range.net, None)?;
    let mut chunks: Vec<Chunk> = range.empty_chunks().collect();
    for offset in rows.iter().filter_map(|row| range.offset_of(row.address)) {
        if let Some(chunk) = chunks.get_mut((offset / CHUNK_BITS) as usize) {
            chunk.set(offset % CHUNK_BITS, true);
        }
    }
    Ok(chunks)
}

/// The addresses of a chunk that differ from `right`; if the chunk is missing, all of them count as used.
fn spans(range: &Range, found: Option<&Chunk>, right: &Chunk) -> Vec<IndexFault> {
    let mut spans: Vec<IndexFault> = Vec::new();
    let mut open = None;
    let start = right.index * CHUNK_BITS;
    for offset in start..range.size().min(start + CHUNK_BITS) {
        let held = right.is_used(offset % CHUNK_BITS);
        let differs = found.is_none_or(|found| found.is_used(offset % CHUNK_BITS)) != held;
        let address = range.address_at(offset);
        match spans.last_mut().filter(|_| open == Some(held)) {
            Some(span) if differs => span.last = address,
            _ if differs => {
                let (domain, pool) = (range.domain.clone(), range.pool.clone());
                spans.push(IndexFault { domain, pool, first: address, last: address, held });
            }
            _ => {}
        }
        open = differs.then_some(held);
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryLedger;
    use super::super::{AddressRequest, PoolSpec, Space, assign, set_ranges};
    use super::*;
    use crate::ids::AttachmentId;

    fn pool(nets: &[&str]) -> (MemoryLedger, RangeId) {
        let mut ledger = MemoryLedger::default();
        let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
        set_ranges(&mut ledger, &PoolSpec::routed(Domain::naru(), "p", nets), 0).unwrap();
        let id = ledger.ranges(&Domain::naru()).unwrap()[0].0;
        (ledger, id)
    }

    fn request(number: u32) -> AddressRequest {
        AddressRequest::new(
            Domain::naru(),
            "p",
            AttachmentId::new("n", format!("c{number}"), "eth0").unwrap(),
        )
    }

    fn lines(ledger: &MemoryLedger) -> Vec<String> {
        index_faults(ledger, &Domain::naru()).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn bits_without_rows_and_rows_without_bits_are_told_and_mended() {
        let (mut ledger, id) = pool(&["10.0.0.0/19"]);
        let given: Vec<_> = (0..3).map(|number| assign(&mut ledger, &request(number), 0).unwrap()).collect();
        assert!(lines(&ledger).is_empty());
        let mut chunk = ledger.chunk(id, 0).unwrap().unwrap();
        chunk.set(1, false);
        (7..10).for_each(|offset| chunk.set(offset, true));
        ledger.set_chunk(id, &chunk).unwrap();
        let told = [
            "index of naru, pool p: 10.0.0.1 is held, and free in the index",
            "index of naru, pool p: 10.0.0.7-10.0.0.9 is kept, and nobody holds it",
        ];
        assert_eq!(lines(&ledger), told);
        assert_eq!(given[1].addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(mend_index(&mut ledger, &Domain::naru()).unwrap().len(), 2);
        assert!(lines(&ledger).is_empty());
    }

    #[test]
    fn a_chunk_that_is_gone_is_made_again() {
        let (mut ledger, id) = pool(&["10.0.0.0/30"]);
        assign(&mut ledger, &request(1), 0).unwrap();
        ledger.forget_chunk(id, 0);
        assert_eq!(lines(&ledger), ["index of naru, pool p: 10.0.0.1-10.0.0.3 is kept, and nobody holds it"]);
        mend_index(&mut ledger, &Domain::naru()).unwrap();
        let left = (2..9).take_while(|number| assign(&mut ledger, &request(*number), 0).is_ok()).count();
        assert_eq!(left, 3);
    }

    #[test]
    fn an_address_that_the_index_calls_free_is_still_given_once() {
        let (mut ledger, id) = pool(&["10.0.0.0/29"]);
        let given: Vec<IpAddr> =
            (0..4).flat_map(|number| assign(&mut ledger, &request(number), 0).unwrap().addresses).collect();
        ledger.set_chunk(id, &Chunk::new(0, 8)).unwrap();
        let more: Vec<IpAddr> = (4..9)
            .map_while(|number| assign(&mut ledger, &request(number), 0).ok())
            .flat_map(|got| got.addresses)
            .collect();
        assert_eq!(more.len(), 4);
        assert!(more.iter().all(|address| !given.contains(address)), "{given:?} {more:?}");
        assert!(lines(&ledger).is_empty(), "and the index is right again");
    }
}
