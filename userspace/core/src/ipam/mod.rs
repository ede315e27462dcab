//! Who holds which address: assignment and return over a ledger, which keeps the facts.

mod error;
mod ledger;
mod list;
mod request;
mod row;

pub use error::{IpamError, Usage};
pub use ledger::Range;
pub use list::{Listed, list};
pub use request::{Assignment, DEFAULT_COOLING, PoolSpec, RangeChanges, Request, Reservation};
pub use row::{Domain, Family, Millis, Row, State};
