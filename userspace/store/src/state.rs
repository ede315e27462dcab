use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use naru_core::ids::{AttachmentId, Generation};
use naru_core::ipam::{
    self, AddressRequest, AddressSet, Adoption, Assignment, Domain, Family, IndexFault, IpamError, Ledger,
    Millis, PoolSpec, Range, RangeChanges, Reservation, Row, Usage,
};
use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;
use crate::boot::{self, Start};
use crate::failpoint::reach;
use crate::ledger::SqlLedger;
use crate::open;

/// The reasons for which nothing was reserved.
pub type ReserveError = IpamError<StoreError>;

/// The database `<run>/state.db`. Every call is one short transaction; nothing is held between calls, so any number of
/// processes may use the file at once. An attachment is made in the order reserve, wire, confirm, and ended in the
/// order unwire, release.
#[derive(Debug)]
pub struct StateStore {
    connection: Connection,
    path: PathBuf,
    boot_id: String,
}

impl StateStore {
    /// Opens the store. Makes it if it is missing, voids it if it is of another boot, and moves it aside and makes it
    /// anew if it is damaged. Any number of processes may call this at once: it holds a lock file of its own.
    pub fn create(path: &Path, boot_id: &str, now: Millis) -> Result<(Self, Start), StoreError> {
        let (connection, start) = boot::create(path, boot_id, now)?;
        Ok((Self::over(connection, path, boot_id), start))
    }

    /// Opens a store that exists and is of this boot, as the plugin does. Other stores are errors
    /// ([`StoreError::Missing`], [`StoreError::OtherBoot`], [`StoreError::Newer`], [`StoreError::Corrupt`]).
    pub fn open(path: &Path, boot_id: &str) -> Result<Self, StoreError> {
        Ok(Self::over(boot::open(path, boot_id)?, path, boot_id))
    }

    /// Checks the schema of the store at `path`. The error says what it is if it is not today's; nothing is changed.
    pub fn check_schema(path: &Path) -> Result<(), StoreError> {
        boot::check_schema(path)
    }

    /// Refuses a store of a newer schema, by its header alone.
    pub fn check_header(path: &Path) -> Result<(), StoreError> {
        boot::check_header(path)
    }

    /// Returns true if a store could be made at `path`, as far as the file system of its directory says.
    pub fn check_place(path: &Path) -> Result<(), StoreError> {
        open::check_place(path)
    }

    fn over(connection: Connection, path: &Path, boot_id: &str) -> Self {
        Self { connection, path: path.to_owned(), boot_id: boot_id.to_owned() }
    }

    /// The boot the store is of.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Assigns addresses; the same attachment in the same namespace keeps those that it has.
    pub fn reserve(&mut self, request: &AddressRequest, now: Millis) -> Result<Assignment, ReserveError> {
        self.transact(|ledger| ipam::assign(ledger, request, now))
    }

    /// Returns the answer that [`StateStore::reserve`] would give now, and changes nothing.
    pub fn rehearse(&mut self, request: &AddressRequest, now: Millis) -> Result<Assignment, ReserveError> {
        self.undo(|ledger| ipam::assign(ledger, request, now))
    }

    /// Returns true if anything could be written now; takes it back.
    pub fn rehearse_write(&mut self) -> Result<(), StoreError> {
        self.undo(|ledger| ledger.next_generation(Generation(0)).map(drop))
    }

    /// Records addresses that another IPAM gave; see [`ipam::claim`].
    pub fn claim(&mut self, request: &AddressRequest, now: Millis) -> Result<Assignment, ReserveError> {
        self.transact(|ledger| ipam::claim(ledger, request, now))
    }

    /// Assigns one address of every set; see [`ipam::assign_from_each`].
    pub fn reserve_from_each(
        &mut self,
        request: &AddressRequest,
        sets: &[AddressSet],
        now: Millis,
    ) -> Result<Assignment, ReserveError> {
        self.transact(|ledger| ipam::assign_from_each(ledger, request, sets, now))
    }

    /// Notes that the attachment is wired to this interface of the node.
    pub fn confirm(
        &mut self,
        domain: &Domain,
        owner: &AttachmentId,
        generation: Generation,
        ifindex: u32,
    ) -> Result<(), ReserveError> {
        self.transact(|ledger| ipam::confirm(ledger, domain, owner, (generation, ifindex)))
    }

    /// Releases the addresses that the attachment holds, if any, and returns them.
    pub fn release(
        &mut self,
        domain: &Domain,
        owner: &AttachmentId,
        now: Millis,
    ) -> Result<Vec<Row>, StoreError> {
        self.transact(|ledger| ipam::release(ledger, domain, owner, now))
    }

    /// Keeps an address from everybody, or for one pod. If another has it, the error names the holder.
    pub fn reserve_address(
        &mut self,
        domain: &Domain,
        reservation: &Reservation,
        now: Millis,
    ) -> Result<(), ReserveError> {
        self.transact(|ledger| ipam::reserve(ledger, domain, reservation, now))
    }

    /// Ends a reservation. Returns true if there was one.
    pub fn unreserve_address(&mut self, domain: &Domain, address: IpAddr) -> Result<bool, StoreError> {
        self.transact(|ledger| ipam::unreserve(ledger, domain, address))
    }

    /// The addresses that the attachment holds, in order.
    pub fn lease_of(&self, domain: &Domain, owner: &AttachmentId) -> Result<Vec<Row>, StoreError> {
        self.view().held_by(domain, owner)
    }

    /// Every address of every domain that is not free.
    pub fn rows(&self) -> Result<Vec<Row>, StoreError> {
        self.view().rows("ORDER BY domain, address", [])
    }

    /// Gives a pool these ranges and reservations in place of those it has.
    pub fn set_ranges(&mut self, spec: &PoolSpec, now: Millis) -> Result<RangeChanges, StoreError> {
        self.transact(|ledger| ipam::set_ranges(ledger, spec, now))
    }

    /// Every range of every domain.
    pub fn ranges(&self) -> Result<Vec<Range>, StoreError> {
        let ranges = self.view().ranges_where("true", [])?;
        Ok(ranges.into_iter().map(|(_, range)| range).collect())
    }

    /// The uses of a pool's addresses of one family.
    pub fn usage(&self, domain: &Domain, pool: &str, family: Family) -> Result<Usage, StoreError> {
        ipam::usage(&self.view(), (domain, pool, family))
    }

    /// Writes a live attachment into the store. Returns true if anything changed. If another attachment holds an
    /// address, the error names it.
    pub fn adopt(&mut self, adoption: &Adoption, now: Millis) -> Result<bool, ReserveError> {
        self.transact(|ledger| ipam::adopt(ledger, adoption, now))
    }

    /// Frees an address if its assignment still has this generation, and with it all other addresses of the assignment.
    /// Returns true if it was freed.
    pub fn free_if_generation(
        &mut self,
        domain: &Domain,
        address: IpAddr,
        generation: Generation,
        now: Millis,
    ) -> Result<bool, StoreError> {
        self.transact(|ledger| ipam::free_if_generation(ledger, (domain, address), generation, now))
    }

    /// Keeps an address that has two live holders from everybody, unless an attachment holds it in the store. Returns
    /// true if anything changed.
    pub fn quarantine(
        &mut self,
        domain: &Domain,
        address: IpAddr,
        note: &str,
        now: Millis,
    ) -> Result<bool, StoreError> {
        self.transact(|ledger| ipam::quarantine(ledger, (domain, address), note, now))
    }

    /// Frees up to 16 addresses of a domain that have cooled for `cooling` milliseconds. Returns their number.
    pub fn sweep(&mut self, domain: &Domain, cooling: Millis, now: Millis) -> Result<usize, StoreError> {
        self.transact(|ledger| ipam::sweep(ledger, domain, cooling, now))
    }

    /// Frees every address of every domain that has cooled for `cooling` milliseconds. Returns their number. Works in
    /// short transactions, so that others get in between.
    pub fn sweep_all(&mut self, cooling: Millis, now: Millis) -> Result<usize, StoreError> {
        let cool = self.view().rows("WHERE state = 1", [])?;
        let domains: BTreeSet<Domain> = cool.into_iter().map(|row| row.domain).collect();
        let mut freed = 0;
        for domain in &domains {
            loop {
                match self.sweep(domain, cooling, now)? {
                    0 => break,
                    some => freed += some,
                }
            }
        }
        Ok(freed)
    }

    /// The faults in the bitmaps of free addresses, compared with the rows.
    pub fn index_faults(&self) -> Result<Vec<IndexFault>, StoreError> {
        let named = |error| StoreError::sqlite(&self.path, error);
        // Rows and bitmaps are read as of one moment; nothing is written.
        let _picture = self.connection.unchecked_transaction().map_err(named)?;
        let all = self.domains()?.into_iter().map(|domain| ipam::index_faults(&self.view(), &domain));
        Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Makes the bitmaps agree with the rows. Returns the faults that were there.
    pub fn mend_index(&mut self) -> Result<Vec<IndexFault>, StoreError> {
        let domains = self.domains()?;
        self.transact(|ledger| {
            let mended = domains.iter().map(|domain| ipam::mend_index(ledger, domain));
            Ok(mended.collect::<Result<Vec<_>, _>>()?.concat())
        })
    }

    /// Every domain that has a range.
    fn domains(&self) -> Result<BTreeSet<Domain>, StoreError> {
        Ok(self.ranges()?.into_iter().map(|range| range.domain).collect())
    }

    fn view(&self) -> SqlLedger<'_> {
        SqlLedger { connection: &self.connection, path: &self.path }
    }

    /// One transaction that ends as it began.
    fn undo<T, E: From<StoreError>>(
        &mut self,
        operation: impl FnOnce(&mut SqlLedger<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(|error| StoreError::sqlite(&self.path, error))?;
        let outcome = operation(&mut SqlLedger { connection: &transaction, path: &self.path })?;
        transaction.rollback().map_err(|error| StoreError::sqlite(&self.path, error))?;
        Ok(outcome)
    }

    /// Runs one transaction, which begins as a writer's, so that two never both read before they write.
    fn transact<T, E: From<StoreError>>(
        &mut self,
        operation: impl FnOnce(&mut SqlLedger<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(|error| StoreError::sqlite(&self.path, error))?;
        reach("store-begun");
        let outcome = operation(&mut SqlLedger { connection: &transaction, path: &self.path })?;
        reach("store-commit");
        transaction.commit().map_err(|error| StoreError::sqlite(&self.path, error))?;
        reach("store-committed");
        Ok(outcome)
    }
}
