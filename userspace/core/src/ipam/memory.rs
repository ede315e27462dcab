//! A ledger in memory: the fake that tests of the allocator run on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Chunk, Domain, Ledger, Range, RangeId, Row, Space, State, Usage};
use crate::ids::{AttachmentId, Generation, PodName};

/// Everything a store keeps, in maps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct MemoryLedger {
    pub(crate) rows: BTreeMap<(Domain, IpAddr), Row>,
    ranges: BTreeMap<RangeId, Range>,
    chunks: BTreeMap<(RangeId, u32), Chunk>,
    generation: Generation,
}

impl MemoryLedger {
    /// Runs an operation as a transaction: if it fails, the ledger stays as it was.
    pub(crate) fn transact<T, E>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.clone();
        let outcome = operation(self);
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }

    /// Loses a part of a bitmap.
    pub(crate) fn forget_chunk(&mut self, id: RangeId, index: u32) {
        self.chunks.remove(&(id, index));
    }

    /// The row of an address.
    pub(crate) fn row(&self, domain: &Domain, address: IpAddr) -> Result<Option<Row>, Infallible> {
        Ok(self.rows.get(&(domain.clone(), address)).cloned())
    }

    fn matching<'a>(&'a self, domain: &'a Domain, net: Option<IpNet>) -> impl Iterator<Item = &'a Row> {
        let (first, last) = match net {
            Some(net) => (net.network(), net.broadcast()),
            None => (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::from([0xff; 16]).into()),
        };
        self.rows.range((domain.clone(), first)..=(domain.clone(), last)).map(|(_, row)| row)
    }
}

impl Space for MemoryLedger {
    type Error = Infallible;

    fn ranges(&self, domain: &Domain) -> Result<Vec<(RangeId, Range)>, Infallible> {
        let of_domain = self.ranges.iter().filter(|(_, range)| range.domain == *domain);
        Ok(of_domain.map(|(id, range)| (*id, range.clone())).collect())
    }

    fn add_range(&mut self, range: &Range) -> Result<RangeId, Infallible> {
        let id = RangeId(self.ranges.keys().last().map_or(1, |last| last.0 + 1));
        self.ranges.insert(id, range.clone());
        Ok(id)
    }

    fn set_range(&mut self, id: RangeId, range: Option<&Range>) -> Result<(), Infallible> {
        match range {
            Some(range) => drop(self.ranges.insert(id, range.clone())),
            None => {
                self.ranges.remove(&id);
                self.chunks.retain(|(of, _), _| *of != id);
            }
        }
        Ok(())
    }

    fn chunk(&self, id: RangeId, index: u32) -> Result<Option<Chunk>, Infallible> {
        Ok(self.chunks.get(&(id, index)).cloned())
    }

    fn chunk_with_room(&self, id: RangeId, from: u32) -> Result<Option<Chunk>, Infallible> {
        let mut chunks = self.chunks.range((id, from)..=(id, u32::MAX)).map(|(_, chunk)| chunk);
        Ok(chunks.find(|chunk| chunk.free() > 0).cloned())
    }

    fn set_chunk(&mut self, id: RangeId, chunk: &Chunk) -> Result<(), Infallible> {
        self.chunks.insert((id, chunk.index), chunk.clone());
        Ok(())
    }
}

impl Ledger for MemoryLedger {
    fn held_by(&self, domain: &Domain, owner: &AttachmentId) -> Result<Vec<Row>, Infallible> {
        let held = |row: &&Row| row.state == State::Assigned && row.owner.as_ref() == Some(owner);
        Ok(self.matching(domain, None).filter(held).cloned().collect())
    }

    fn reserved_for(&self, domain: &Domain, pod: &PodName) -> Result<Vec<Row>, Infallible> {
        let kept = |row: &&Row| row.pod.is_same(pod) && (row.is_kept() || row.state == State::Reserved);
        Ok(self.matching(domain, None).filter(kept).cloned().collect())
    }

    fn set_row(&mut self, domain: &Domain, address: IpAddr, row: Option<&Row>) -> Result<(), Infallible> {
        let key = (domain.clone(), address);
        match row {
            Some(row) => drop(self.rows.insert(key, row.clone())),
            None => drop(self.rows.remove(&key)),
        }
        Ok(())
    }

    fn oldest_cooling(&self, domain: &Domain, within: Option<IpNet>) -> Result<Option<Row>, Infallible> {
        let cooling = self.matching(domain, within).filter(|row| row.state == State::Cooling);
        Ok(cooling.min_by_key(|row| (row.since, row.address)).cloned())
    }

    fn rows_within(&self, domain: &Domain, net: IpNet, state: Option<State>) -> Result<Vec<Row>, Infallible> {
        let wanted = |row: &&Row| state.is_none_or(|state| row.state == state);
        Ok(self.matching(domain, Some(net)).filter(wanted).cloned().collect())
    }

    fn in_use(&self, domain: &Domain, net: IpNet) -> Result<bool, Infallible> {
        Ok(self.matching(domain, Some(net)).any(|row| row.state != State::Reserved))
    }

    fn usage_within(&self, domain: &Domain, net: IpNet) -> Result<Usage, Infallible> {
        let mut usage = Usage::default();
        for row in self.matching(domain, Some(net)) {
            match row.state {
                State::Assigned => usage.assigned += 1,
                State::Cooling => usage.cooling += 1,
                State::Reserved | State::Quarantined => usage.reserved += 1,
            }
        }
        Ok(usage)
    }

    fn next_generation(&mut self, above: Generation) -> Result<Generation, Infallible> {
        self.generation = self.generation.max(above).next();
        Ok(self.generation)
    }
}
