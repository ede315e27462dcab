use std::net::IpAddr;

use ipnet::IpNet;

use super::{Chunk, Domain, Range, Row, State, Usage};
use crate::ids::{AttachmentId, Generation, PodName};

/// Number of a range in its ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RangeId(pub i64);

/// The ranges, and the bitmaps of free addresses in them.
pub trait Space {
    /// The error of the store.
    type Error;

    /// Every range of a domain, in the order in which they were added.
    fn ranges(&self, domain: &Domain) -> Result<Vec<(RangeId, Range)>, Self::Error>;

    /// Adds a range without chunks.
    fn add_range(&mut self, range: &Range) -> Result<RangeId, Self::Error>;

    /// Replaces a range, or removes it together with its chunks.
    fn set_range(&mut self, id: RangeId, range: Option<&Range>) -> Result<(), Self::Error>;

    /// A chunk by its index.
    fn chunk(&self, id: RangeId, index: u32) -> Result<Option<Chunk>, Self::Error>;

    /// The first chunk with a free address whose index is at least `from`.
    fn chunk_with_room(&self, id: RangeId, from: u32) -> Result<Option<Chunk>, Self::Error>;

    /// Adds or replaces a chunk.
    fn set_chunk(&mut self, id: RangeId, chunk: &Chunk) -> Result<(), Self::Error>;
}

/// The addresses that are not free. Everything that one operation of the allocator does to a ledger is one
/// transaction of the caller: if the operation fails, nothing of it may remain.
pub trait Ledger: Space {
    /// The rows that an attachment holds now ([`State::Assigned`]), in the order of the addresses.
    fn held_by(&self, domain: &Domain, owner: &AttachmentId) -> Result<Vec<Row>, Self::Error>;

    /// The rows that are reserved for a pod, or were and are held by one of its attachments ([`Row::is_kept`]).
    fn reserved_for(&self, domain: &Domain, pod: &PodName) -> Result<Vec<Row>, Self::Error>;

    /// Adds or replaces the row of an address, or removes it.
    fn set_row(&mut self, domain: &Domain, address: IpAddr, row: Option<&Row>) -> Result<(), Self::Error>;

    /// The row cooling for the longest time, of the whole domain or of one range.
    fn oldest_cooling(&self, domain: &Domain, within: Option<IpNet>) -> Result<Option<Row>, Self::Error>;

    /// The rows of a range, all or those of one state, in the order of the addresses.
    fn rows_within(&self, domain: &Domain, net: IpNet, state: Option<State>)
    -> Result<Vec<Row>, Self::Error>;

    /// Returns true if any address of a range has a use other than being reserved.
    fn in_use(&self, domain: &Domain, net: IpNet) -> Result<bool, Self::Error>;

    /// Counts the uses of a range's addresses; `total` stays 0.
    fn usage_within(&self, domain: &Domain, net: IpNet) -> Result<Usage, Self::Error>;

    /// A number larger than every one returned before and than `above`.
    fn next_generation(&mut self, above: Generation) -> Result<Generation, Self::Error>;
}

/// The row of an address.
///
/// # Errors
/// The store's.
pub(super) fn row_of<L: Ledger>(
    ledger: &L,
    domain: &Domain,
    address: IpAddr,
) -> Result<Option<Row>, L::Error> {
    Ok(ledger.rows_within(domain, IpNet::from(address), None)?.into_iter().next())
}
