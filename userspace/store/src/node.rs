use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Params, Result as SqlResult, Transaction};

use crate::StoreError;
use crate::migrate;
use crate::open::{self, Durability, Layout};

const LAYOUT: Layout = Layout {
    tables: include_str!("node.sql"),
    // Schema 2: leases of other IPAM plugins, in a table that some stores of schema 1 have already.
    steps: &[include_str!("node_2.sql")],
    durability: Durability::Disk,
};

/// Keys of the facts that have calls of their own.
const UID: &str = "node.uid";
const NAME: &str = "node.name";
const BOOT: &str = "boot.last";

/// The node's identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// A random UUID of version 4, made at the first start and kept for ever.
    pub uid: String,
    /// Its name, which may change.
    pub name: String,
}

/// `<state>/node.db`: what survives a reboot. Every write is on the disk when the call returns.
#[derive(Debug)]
pub struct NodeStore {
    connection: Connection,
    path: PathBuf,
    replaced: Option<PathBuf>,
}

impl NodeStore {
    /// Opens the store, or makes it if it is missing. A damaged one is moved aside and made anew, as a node that cannot
    /// start is worse than one that forgot; see [`NodeStore::replaced`]. One of an older schema is left as it is
    /// ([`StoreError::Older`]); [`NodeStore::migrate`] migrates it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let _lock = open::creation_lock(path)?;
        Self::open_locked(path)
    }

    /// Opens the store as [`NodeStore::open`] does, and migrates an older schema.
    pub fn migrate(path: &Path) -> Result<Self, StoreError> {
        let _lock = open::creation_lock(path)?;
        match Self::open_locked(path) {
            // Damage that is found only during a step is damage too.
            Err(StoreError::Older { .. }) => match migrate::migrate(path, &LAYOUT) {
                Ok(()) => Self::open_locked(path),
                Err(StoreError::Corrupt { .. }) => Self::replace(path),
                Err(error) => Err(error),
            },
            opened => opened,
        }
    }

    /// Checks the schema of the store at `path`. The error says what it is if it is not today's; nothing is changed.
    pub fn check_schema(path: &Path) -> Result<(), StoreError> {
        migrate::check_at(path, &LAYOUT)
    }

    /// Refuses a store of a newer schema, by its header alone.
    pub fn check_header(path: &Path) -> Result<(), StoreError> {
        migrate::check_header(path, &LAYOUT)
    }

    /// Opens the store; the caller holds the creation lock.
    fn open_locked(path: &Path) -> Result<Self, StoreError> {
        let found = open::open_existing(path, &LAYOUT, |_| Ok(()))
            .and_then(|(connection, ())| open::check_pages(&connection, path).map(|()| connection));
        let connection = match found {
            Err(StoreError::Missing(_)) => Self::make(path)?,
            Err(StoreError::Corrupt { .. }) => return Self::replace(path),
            other => other?,
        };
        Ok(Self { connection, path: path.to_owned(), replaced: None })
    }

    /// Moves a damaged store aside and makes a new one.
    fn replace(path: &Path) -> Result<Self, StoreError> {
        let replaced = Some(open::set_aside(path, &random_uid(path)?)?);
        Ok(Self { connection: Self::make(path)?, path: path.to_owned(), replaced })
    }

    fn make(path: &Path) -> Result<Connection, StoreError> {
        open::make(path, &LAYOUT, |_| Ok(()))?;
        Ok(open::open_existing(path, &LAYOUT, |_| Ok(()))?.0)
    }

    /// The path to which the damaged predecessor of this store was moved: the node has a new uid, and this store alone
    /// does not know the host's state before naru.
    #[must_use]
    pub fn replaced(&self) -> Option<&Path> {
        self.replaced.as_deref()
    }

    /// Damaged predecessors of the store at `path`, as long as they are kept: the process that replaced them may have
    /// been unable to report it.
    #[must_use]
    pub fn damaged_copies(path: &Path) -> Vec<PathBuf> {
        open::aside(path)
    }

    /// The node's identity, which is made at the first call; the name is kept up to date.
    pub fn identity(&mut self, name: &str) -> Result<Identity, StoreError> {
        let fresh = random_uid(&self.path)?;
        self.transact(|transaction| {
            let uid = fact(transaction, UID)?.unwrap_or(fresh);
            let known = fact(transaction, NAME)?;
            if known.as_deref() != Some(name) {
                set_fact(transaction, UID, &uid)?;
                set_fact(transaction, NAME, name)?;
            }
            Ok(Identity { uid, name: name.to_owned() })
        })
    }

    /// Forgets the node's identity: the next one is that of another node.
    pub fn forget_identity(&mut self) -> Result<(), StoreError> {
        self.forget(UID).map(drop)
    }

    /// The node's blocks as last set.
    pub fn blocks(&self) -> Result<Vec<IpNet>, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            let text: String = row.get(0)?;
            text.parse().map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
        };
        self.select("SELECT net FROM blocks ORDER BY position", [], read)
    }

    /// Replaces the node's blocks.
    pub fn set_blocks(&mut self, blocks: &[IpNet]) -> Result<(), StoreError> {
        self.transact(|transaction| {
            transaction.execute("DELETE FROM blocks", [])?;
            for block in blocks {
                transaction.execute("INSERT OR IGNORE INTO blocks (net) VALUES (?1)", [block.to_string()])?;
            }
            Ok(())
        })
    }

    /// The boot under which the node was initialised last.
    pub fn last_boot(&self) -> Result<Option<String>, StoreError> {
        self.value(BOOT)
    }

    /// Notes the boot under which the node is initialised.
    pub fn set_last_boot(&mut self, boot_id: &str) -> Result<(), StoreError> {
        self.put(BOOT, boot_id)
    }

    /// Notes the state of a part of the host before naru changes it, unless that is noted already. Call it before the
    /// change. Returns true if the note is new.
    pub fn journal_once(&mut self, key: &str, before: &str) -> Result<bool, StoreError> {
        let sql = "INSERT OR IGNORE INTO journal (key, before) VALUES (?1, ?2)";
        self.transact(|transaction| Ok(transaction.execute(sql, [key, before])? > 0))
    }

    /// The state of the thing before.
    pub fn journal_get(&self, key: &str) -> Result<Option<String>, StoreError> {
        let found = self.select("SELECT before FROM journal WHERE key = ?1", [key], |row| row.get(0))?;
        Ok(found.into_iter().next())
    }

    /// Returns every note whose key begins with `prefix`, newest first: the order in which changes are undone.
    pub fn journal(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let sql =
            "SELECT key, before FROM journal WHERE substr(key, 1, length(?1)) = ?1 ORDER BY number DESC";
        self.select(sql, [prefix], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Forgets a note, after its change was undone. Returns its text.
    pub fn journal_take(&mut self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "DELETE FROM journal WHERE key = ?1 RETURNING before";
        self.transact(|transaction| transaction.query_row(sql, [key], |row| row.get(0)).optional())
    }

    /// Every value whose key begins with `prefix`, by key.
    pub fn values(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT key, value FROM facts WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
        self.select(sql, [prefix], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Forgets a value; returns whether there was one.
    pub fn forget(&mut self, key: &str) -> Result<bool, StoreError> {
        self.transact(|transaction| Ok(transaction.execute("DELETE FROM facts WHERE key = ?1", [key])? > 0))
    }

    /// Notes or replaces a value that is not a change of the host.
    pub fn put(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.transact(|transaction| set_fact(transaction, key, value))
    }

    /// A value noted with [`NodeStore::put`].
    pub fn value(&self, key: &str) -> Result<Option<String>, StoreError> {
        fact(&self.connection, key).map_err(|error| StoreError::sqlite(&self.path, error))
    }

    pub(crate) fn select<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> SqlResult<T>,
    ) -> Result<Vec<T>, StoreError> {
        let run = || self.connection.prepare(sql)?.query_map(values, read)?.collect::<SqlResult<Vec<T>>>();
        run().map_err(|error| StoreError::sqlite(&self.path, error))
    }

    pub(crate) fn transact<T>(
        &mut self,
        operation: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        let run = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let outcome = operation(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        };
        run(&mut self.connection).map_err(|error| StoreError::sqlite(&self.path, error))
    }
}

fn fact(connection: &Connection, key: &str) -> SqlResult<Option<String>> {
    let sql = "SELECT value FROM facts WHERE key = ?1";
    connection.prepare(sql)?.query_row([key], |row| row.get(0)).optional()
}

fn set_fact(connection: &Connection, key: &str, value: &str) -> SqlResult<()> {
    let sql =
        "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(sql, [key, value]).map(drop)
}

/// A UUID of version 4 (RFC 9562, section 5.4) from the kernel's random numbers.
fn random_uid(path: &Path) -> Result<String, StoreError> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    let text = text.map_err(|error| StoreError::io(path, "make a random name", error))?;
    Ok(text.trim().to_owned())
}
