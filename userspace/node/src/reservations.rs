//! Addresses that an administrator keeps from everybody, or for one pod: remembered in `node.db`, and enforced in
//! `state.db`, into which every init copies them.

use crate::machine;
use std::net::IpAddr;

use naru_core::{
    ids::PodName,
    ipam::{Domain, IpamError, Range, Reservation},
};
use naru_store::{NodeStore, ReserveError, StateStore, StoreError};
use serde::{Deserialize, Serialize};

use crate::{host, machine::MachineError, paths::Paths};

const PREFIX: &str = "reservation/";

/// The reasons for which an address was not reserved, or a reservation not ended.
#[derive(Debug, thiserror::Error)]
pub enum ReservationError {
    /// It is in no pool of this node, so nobody could get it.
    #[error("address {0}: in no pool of this node")]
    Nowhere(IpAddr),
    /// The pod takes its addresses from another pool.
    #[error(
        "address {address}: in pool {pool}, but pods of namespace {namespace:?} take their addresses from {used}: \
         choose an address of that one, or name --pool {pool} if this pod asks for it itself"
    )]
    OtherPool {
        /// The address.
        address: IpAddr,
        /// Its pool.
        pool: String,
        /// The pod's namespace.
        namespace: String,
        /// The pool that they use, in words.
        used: String,
    },
    /// There is nothing to end.
    #[error("address {0}: not reserved by an administrator")]
    NotReserved(IpAddr),
    /// The address is in use, or reserved otherwise.
    #[error(transparent)]
    Taken(ReserveError),
    /// The node.
    #[error(transparent)]
    Init(#[from] MachineError),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReservationError {
    /// Returns true if the answer is no as things stand, rather than that something failed.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Nowhere(_) | Self::OtherPool { .. } | Self::NotReserved(_) | Self::Taken(_))
    }
}

impl From<ReserveError> for ReservationError {
    fn from(error: ReserveError) -> Self {
        match error {
            IpamError::Store(error) => Self::Store(error),
            error => Self::Taken(error),
        }
    }
}

/// A reservation as it is written down.
#[derive(Serialize, Deserialize)]
struct Stored {
    namespace: String,
    pod: String,
    note: String,
}

/// The reservations, by address as text.
///
/// # Errors
/// The store cannot be read. A line in it that is not ours to read is left out.
pub fn all(node: &NodeStore) -> Result<Vec<Reservation>, StoreError> {
    let one = |(key, value): (String, String)| {
        let address = key.strip_prefix(PREFIX)?.parse().ok()?;
        let Stored { namespace, pod, note } = serde_json::from_str(&value).ok()?;
        let pod = PodName { namespace, name: pod, uid: String::new() };
        Some(Reservation { address, note, pod })
    };
    Ok(node.values(PREFIX)?.into_iter().filter_map(one).collect())
}

/// Reserves an address, durably when the call returns. `asked` is the pool that the pod requests itself, by its
/// annotation or its network's configuration.
///
/// # Errors
/// [`ReservationError`]; then nothing changed.
pub fn reserve(
    paths: &Paths,
    reservation: &Reservation,
    asked: Option<&str>,
) -> Result<(), ReservationError> {
    let (mut node, mut state, _lock) = open(paths)?;
    let address = reservation.address;
    let ranges = state.ranges()?;
    let holds = |range: &&Range| {
        range.domain == Domain::naru() && !range.draining && range.offset_of(address).is_some()
    };
    let range = ranges.iter().find(holds).ok_or(ReservationError::Nowhere(address))?;
    refuse_other_pool(paths, reservation, &range.pool, asked)?;
    state.reserve_address(&Domain::naru(), reservation, host::now())?;
    if let Err(error) = write(&mut node, reservation) {
        state.unreserve_address(&Domain::naru(), address)?;
        return Err(error.into());
    }
    Ok(())
}

/// Refuses an address of a pool that the pod does not use: it would stay reserved, and the pod get another.
fn refuse_other_pool(
    paths: &Paths,
    Reservation { address, pod, .. }: &Reservation,
    pool: &str,
    asked: Option<&str>,
) -> Result<(), ReservationError> {
    let facts = machine::current(paths)?.ok_or(MachineError::NotReady)?;
    let of_namespace = facts.pool_of_namespace(&pod.namespace);
    let used = asked.or(of_namespace);
    let fits = match used {
        Some(used) => used == pool,
        // Pools without a name: the networks' configurations decide who uses them.
        None => !facts.has_pool(pool),
    };
    if pod.is_empty() || fits {
        return Ok(());
    }
    let used = used.map_or_else(|| "their network's own".to_owned(), |used| format!("pool {used}"));
    let (address, pool, namespace) = (*address, pool.to_owned(), pod.namespace.clone());
    Err(ReservationError::OtherPool { address, pool, namespace, used })
}

/// Ends a reservation that [`reserve`] made.
///
/// # Errors
/// [`ReservationError`]
pub fn unreserve(paths: &Paths, address: IpAddr) -> Result<(), ReservationError> {
    let (mut node, mut state, _lock) = open(paths)?;
    if !node.forget(&key(address))? {
        return Err(ReservationError::NotReserved(address));
    }
    state.unreserve_address(&Domain::naru(), address)?;
    Ok(())
}

fn key(address: IpAddr) -> String {
    format!("{PREFIX}{address}")
}

fn write(node: &mut NodeStore, reservation: &Reservation) -> Result<(), StoreError> {
    let Reservation { address, note, pod } = reservation.clone();
    let stored = Stored { namespace: pod.namespace, pod: pod.name, note };
    node.put(&key(address), &serde_json::json!(stored).to_string())
}

/// Opens both stores, with the lock that keeps init away between the two writes.
fn open(paths: &Paths) -> Result<(NodeStore, StateStore, std::fs::File), ReservationError> {
    machine::current(paths)?.ok_or(MachineError::NotReady)?;
    let lock = machine::lock(paths)?;
    let boot_id = host::boot_id().map_err(MachineError::Host)?;
    Ok((NodeStore::open(&paths.node_store())?, StateStore::open(&paths.lease_store(), &boot_id)?, lock))
}
