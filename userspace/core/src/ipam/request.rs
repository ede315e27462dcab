use std::net::IpAddr;

use ipnet::IpNet;

use super::{Domain, Family, Millis, Row};
use crate::ids::{AttachmentId, Generation, NetnsId, PodName, stable_hash};

/// How long an address that was given back is kept from reuse, in milliseconds.
pub const DEFAULT_COOLING: Millis = 30_000;

/// What an attachment asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Where the addresses are unique.
    pub domain: Domain,
    /// The pool they come from, as `set_ranges` named it.
    pub pool: String,
    /// Who asks.
    pub owner: AttachmentId,
    /// The pod it asks for.
    pub pod: PodName,
    /// The namespace it will be attached in; a request from another one supersedes the assignment.
    pub netns: Option<NetnsId>,
    /// Families of which one address each is wanted; empty means every family the pool has.
    pub families: Vec<Family>,
    /// Exact addresses; each stands for one address of its family.
    pub addresses: Vec<IpAddr>,
    /// How long addresses given back before stay out of use.
    pub cooling: Millis,
}

impl Request {
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

/// What an attachment got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Number of the assignment.
    pub generation: Generation,
    /// Whether it held them already.
    pub reused: bool,
    /// What it held from another namespace until now; its kernel objects are the caller's to remove.
    pub superseded: Vec<Row>,
}

/// An address that is never given out, or to one pod only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// The address; one outside all ranges of the pool is of no effect.
    pub address: IpAddr,
    /// Why (`gateway`, `node address`); not empty.
    pub note: String,
    /// The pod that does get it, and always; nobody when empty.
    pub pod: PodName,
}

/// The ranges a pool shall have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolSpec {
    /// Where its addresses are unique.
    pub domain: Domain,
    /// The pool's name.
    pub pool: String,
    /// Its ranges; host bits are ignored, of each the first 2^20 addresses are used.
    pub ranges: Vec<IpNet>,
    /// Addresses never to be given out.
    pub reserved: Vec<Reservation>,
    /// Whether the network and broadcast address of an IPv4 range are kept, as on a bridge. Routed pods use all.
    pub keep_edges: bool,
    /// Whether the subnet-router anycast address of an IPv6 range is kept; not where a range is part of a subnet.
    pub keep_anycast: bool,
    /// Where in a new range to start (taken modulo its size), so that a node that was started again does
    /// not give out first what it gave out last; 0 is the range's first address.
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

/// What came of setting a pool's ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangeChanges {
    /// Ranges that are new.
    pub added: Vec<IpNet>,
    /// Ranges that are gone.
    pub removed: Vec<IpNet>,
    /// Ranges no longer given out from that still have addresses in use; they go with the last one.
    pub draining: Vec<IpNet>,
    /// Addresses that should be reserved but are held by a pod.
    pub conflicts: Vec<Row>,
}
