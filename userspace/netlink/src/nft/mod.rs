//! nf_tables over netlink: batches of changes, listings, and notifications.
//!
//! A table is written as values ([`Chain`], [`Set`], [`Rule`] out of [`Statement`]s) that a [`Batch`] compiles to
//! messages. Rules of others are read as far as they are understood ([`Part`]); what is not understood says so. No
//! tool is run and no library is used: of those that exist libnftnl, libmnl and rustables are out by licence,
//! netlink-packet-netfilter lacks half of the expressions, and netlink-bindings 0.3 (22,100 lines for this family
//! alone, 4.8 s of a cold build on two CPUs) would save the layouts in `expression.rs` only: batches, errors, dumps
//! and the socket it leaves to its user.

mod attribute;
mod batch;
mod chain;
mod content;
mod counter;
mod error;
mod expression;
mod message;
mod rule;
mod set;
mod socket;
mod statement;
mod table;
mod verdict;
mod version;
mod watch;

use attribute::Attributes;

pub use batch::Batch;
pub use chain::{Chain, Hook, HookPoint, ListedChain, ListedHook};
pub use content::{TableContent, TableHandle};
pub use counter::CounterValue;
pub use error::NftError;
pub use message::{Family, TableName};
pub use rule::{ListedRule, Part, Rule};
pub use set::{Members, Set};
pub use socket::Socket;
pub use statement::{Address, Device, Statement};
pub use verdict::Verdict;
pub use version::IpVersion;
pub use watch::Watch;

/// Returns the generation of the rules in the calling thread's network namespace. Every transaction, by whomever,
/// advances it, so the same number means the same rules. The call takes microseconds.
///
/// # Errors
/// The kernel refuses.
pub fn generation() -> Result<u32, NftError> {
    Socket::open()?.generation()
}
