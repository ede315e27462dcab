//! Holders of addresses: assignment and return over a [`Ledger`], which keeps the facts.
//!
//! An address is unique within a domain; a pool is a name for some ranges of a domain. Every range has a bitmap in
//! chunks, so that the next free address is found in O(log n) however full the range is. One call of a function of
//! this module is one transaction of the ledger.

mod adopt;
mod assign;
mod chunk;
mod claim;
mod error;
mod exclude;
mod host_local;
mod index;
mod ledger;
mod list;
#[cfg(test)]
pub(crate) mod memory;
mod pick;
#[cfg(test)]
mod properties;
mod range;
mod ranges;
mod release;
mod request;
mod reserve;
mod row;
mod sets;
#[cfg(test)]
mod tests;

pub use adopt::{Adoption, adopt};
pub use assign::{assign, confirm, keeps, usage};
pub use chunk::{CHUNK_BITS, CHUNK_BYTES, Chunk};
pub use claim::claim;
pub use error::{IpamError, Usage};
pub use exclude::without;
pub use host_local::HostLocalFile;
pub use index::{IndexFault, index_faults, mend_index};
pub use ledger::{Ledger, RangeId, Space};
pub use list::{Listed, list};
pub use range::{MAX_RANGE, Range};
pub use ranges::set_ranges;
pub use release::{free_if_generation, quarantine, release, sweep};
pub use request::{AddressRequest, Assignment, DEFAULT_COOLING, PoolSpec, RangeChanges, Reservation};
pub use reserve::{reserve, unreserve};
pub use row::{Domain, Family, Millis, Row, State};
pub use sets::{AddressSet, Subnet, assign_from_each};

use ledger::row_of;
use ranges::drop_drained;
use release::cool;
