#![expect(clippy::todo, reason = "signatures first; bodies follow within the hour")]
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use naru_core::ids::{AttachmentId, Generation, NetnsId, PodName};
use naru_core::ipam::{Assignment, Domain, IpamError, Millis, PoolSpec, Range, RangeChanges, Request, Row};

use super::StoreError;

/// Why nothing was reserved.
pub type ReserveError = IpamError<StoreError>;

/// How [`StateStore::create`] found the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// It is of this boot.
    Kept,
    /// There was none. What lives in the kernel is to be adopted before the first reservation.
    Fresh,
    /// It was of another boot; all it said is void.
    Rebooted,
    /// It was damaged and moved to this path. What lives in the kernel is to be adopted.
    Replaced(PathBuf),
}

/// A live attachment to be written into the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adoption {
    /// Where its addresses are unique.
    pub domain: Domain,
    /// The attachment.
    pub owner: AttachmentId,
    /// Its pod, where known.
    pub pod: PodName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its namespace, where known.
    pub netns: Option<NetnsId>,
    /// Its interface on the node.
    pub ifindex: u32,
    /// Its generation, as the alias says.
    pub generation: Generation,
}

/// `<run>/state.db`. Every call is one short transaction; nothing is held between calls, so any number of
/// processes may use the file at once. The order of an attachment is reserve, wire, confirm; of its end
/// unwire, release.
#[derive(Debug)]
pub struct StateStore {}

impl StateStore {
    /// Opens the store, makes it when it is missing, voids it when it is of another boot, moves it aside and
    /// makes it anew when it is damaged. Under a lock file of its own: any number of callers at once is fine.
    pub fn create(_path: &Path, _boot_id: &str, _now: Millis) -> Result<(Self, Start), StoreError> {
        todo!()
    }

    /// Opens a store that exists and is of this boot, else says why not ([`StoreError::Missing`],
    /// [`StoreError::OtherBoot`], [`StoreError::Newer`], [`StoreError::Corrupt`]). The plugin's way in.
    pub fn open(_path: &Path, _boot_id: &str) -> Result<Self, StoreError> {
        todo!()
    }

    /// The boot the store is of.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        todo!()
    }

    /// Assigns addresses; the same attachment in the same namespace gets what it has.
    pub fn reserve(&mut self, _request: &Request, _now: Millis) -> Result<Assignment, ReserveError> {
        todo!()
    }

    /// Notes that the attachment is wired.
    pub fn confirm(
        &mut self,
        _domain: &Domain,
        _owner: &AttachmentId,
        _generation: Generation,
        _ifindex: u32,
    ) -> Result<(), ReserveError> {
        todo!()
    }

    /// Gives back what the attachment holds; nothing held is no error. Returns what it held.
    pub fn release(
        &mut self,
        _domain: &Domain,
        _owner: &AttachmentId,
        _now: Millis,
    ) -> Result<Vec<Row>, StoreError> {
        todo!()
    }

    /// What the attachment holds, in the order of the addresses.
    pub fn lease_of(&self, _domain: &Domain, _owner: &AttachmentId) -> Result<Vec<Row>, StoreError> {
        todo!()
    }

    /// Every address of every domain that is not free.
    pub fn rows(&self) -> Result<Vec<Row>, StoreError> {
        todo!()
    }

    /// Gives a pool these ranges and reservations in place of those it has.
    pub fn set_ranges(&mut self, _spec: &PoolSpec, _now: Millis) -> Result<RangeChanges, StoreError> {
        todo!()
    }

    /// Every range of every domain.
    pub fn ranges(&self) -> Result<Vec<Range>, StoreError> {
        todo!()
    }

    /// Writes a live attachment into the store. Returns whether anything changed; an address that
    /// another attachment holds is an error that names it.
    pub fn adopt(&mut self, _adoption: &Adoption, _now: Millis) -> Result<bool, ReserveError> {
        todo!()
    }

    /// Gives back one address if its assignment is still of this generation. Returns whether it was.
    pub fn free_if_generation(
        &mut self,
        _domain: &Domain,
        _address: IpAddr,
        _generation: Generation,
        _now: Millis,
    ) -> Result<bool, StoreError> {
        todo!()
    }

    /// Keeps an address that has two live holders away from everybody.
    pub fn quarantine(
        &mut self,
        _domain: &Domain,
        _address: IpAddr,
        _note: &str,
        _now: Millis,
    ) -> Result<(), StoreError> {
        todo!()
    }
}
