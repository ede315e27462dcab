use std::fmt;
use std::net::IpAddr;

use super::Family;

/// Counts of a pool's addresses by use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// All addresses of the ranges that are not draining.
    pub total: u64,
    /// Addresses held by attachments.
    pub assigned: u64,
    /// Addresses given back a moment ago.
    pub cooling: u64,
    /// Addresses that are never given out, including quarantined ones.
    pub reserved: u64,
}

impl Usage {
    /// Addresses that nothing holds.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.total.saturating_sub(self.assigned + self.cooling + self.reserved)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, assigned, cooling, reserved } = self;
        write!(f, "{assigned} assigned, {cooling} cooling, {reserved} reserved of {total}")
    }
}

/// The reasons for which no address is assigned or given back. `E` is the store's own error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpamError<E> {
    /// The pool has no range of the family.
    #[error("pool {pool}: has no {family} range")]
    NoRange {
        /// The pool.
        pool: String,
        /// The family.
        family: Family,
    },
    /// The pool has no range at all.
    #[error("pool {pool}: has no range")]
    Empty {
        /// The pool.
        pool: String,
    },
    /// Every address is held.
    #[error("pool {pool}: no {family} address left: {usage}")]
    Exhausted {
        /// The pool.
        pool: String,
        /// The family.
        family: Family,
        /// The uses of its addresses.
        usage: Usage,
    },
    /// A requested address is in no range of the pool.
    #[error("address {address}: not in pool {pool}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: String,
    },
    /// A requested address is held by another attachment.
    #[error("address {address}: held by {holder}")]
    Held {
        /// The address.
        address: IpAddr,
        /// The attachment, with its pod if known.
        holder: String,
    },
    /// A requested address is never given out.
    #[error("address {address}: reserved ({note})")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// The reason.
        note: String,
    },
    /// The attachment holds nothing that could be confirmed.
    #[error("attachment {owner}: holds no address of generation {generation}")]
    NotAssigned {
        /// The attachment.
        owner: String,
        /// The generation the caller meant.
        generation: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] E),
}
