use std::net::IpAddr;

use ipnet::IpNet;

use super::{Domain, Family, Millis, Row};
use crate::ids::{AttachmentId, Generation, NetnsId, PodName, stable_hash};

/// Time for which an address that was given back is kept from reuse, in milliseconds.
pub const DEFAULT_COOLING: Millis = 30_000;

/// A request of an attachment for addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressRequest {
    /// The domain in which the addresses are unique.
    pub domain: Domain,
    /// The pool from which they come, as `set_ranges` named it.
    pub pool: String,
    /// The attachment that asks.
    pub owner: AttachmentId,
    /// The pod for which it asks.
    pub pod: PodName,
    /// The namespace of the attachment; a request from another one supersedes the assignment.
    pub netns: Option<NetnsId>,
    /// Families of which one address each is wanted; an empty list means every family of the pool.
    pub families: Vec<Family>,
    /// Exact addresses; each stands for one address of its family.
    pub addresses: Vec<IpAddr>,
    /// Time for which addresses that were given back stay out of use.
    pub cooling: Millis,
}

impl AddressRequest {
    /// A request for one address of every family that the pool has.
    #[must_use]
    pub fn new(domain: Domain, pool: impl Into<String>, owner: AttachmentId) -> Self {
        Self {
            domain,
            pool: pool.into(),
            owner,
            pod: PodName::default(),
            netns: None,
            families: Vec::new(),
            addresses: Vec::new(),
            cooling: DEFAULT_COOLING,
        }
    }
}

/// The addresses that an attachment got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Number of the assignment.
    pub generation: Generation,
    /// True if the attachment held them already.
    pub reused: bool,
    /// The rows that it held from another namespace until now; the caller removes their kernel objects.
    pub superseded: Vec<Row>,
}

/// An address that is given out to nobody, or to one pod only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// The address; one outside all ranges of the pool has no effect.
    pub address: IpAddr,
    /// The reason (`gateway`, `node address`); not empty.
    pub note: String,
    /// The only pod that gets it; if empty, nobody does.
    pub pod: PodName,
}

/// The desired ranges of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolSpec {
    /// The domain in which its addresses are unique.
    pub domain: Domain,
    /// The pool's name.
    pub pool: String,
    /// Its ranges; host bits are ignored, of each the first 2^20 addresses are used.
    pub ranges: Vec<IpNet>,
    /// Addresses never to be given out.
    pub reserved: Vec<Reservation>,
    /// True if the network and broadcast address of an IPv4 range are kept, as on a bridge. Routed pods use all
    /// addresses.
    pub keep_edges: bool,
    /// True if the subnet-router anycast address of an IPv6 range is kept; false for a range that is a part of a
    /// subnet.
    pub keep_anycast: bool,
    /// The offset at which a new range starts (taken modulo its size), so that a node that was restarted does not
    /// first give out the addresses that it gave out last; 0 is the range's first address.
    pub start: u64,
}

impl PoolSpec {
    /// Ranges for routed pods with nothing reserved, given out from the first address on.
    #[must_use]
    pub fn routed(domain: Domain, pool: impl Into<String>, ranges: Vec<IpNet>) -> Self {
        let (pool, reserved) = (pool.into(), Vec::new());
        Self { domain, pool, ranges, reserved, keep_edges: false, keep_anycast: true, start: 0 }
    }

    /// The same, given out from a place in each new range that differs from boot to boot.
    #[must_use]
    pub fn varied_by(mut self, boot_id: &str) -> Self {
        self.start = stable_hash(boot_id, 0);
        self
    }

    /// The same with one more address that is never given out.
    #[must_use]
    pub fn reserve(mut self, address: IpAddr, note: &str) -> Self {
        self.reserved.push(Reservation { address, note: note.to_owned(), pod: PodName::default() });
        self
    }
}

/// The result of setting a pool's ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangeChanges {
    /// Ranges that are new.
    pub added: Vec<IpNet>,
    /// Ranges that are gone.
    pub removed: Vec<IpNet>,
    /// Ranges from which no address is given out any more, but of which some are in use; they go with the last one.
    pub draining: Vec<IpNet>,
    /// Addresses that should be reserved but are held by a pod.
    pub conflicts: Vec<Row>,
}
