//! The beginning of `state.db`: it belongs to one boot of the machine and is void under another.

use std::path::{Path, PathBuf};

use naru_core::ipam::Millis;
use rusqlite::{Connection, Result as SqlResult, params};

use crate::StoreError;
use crate::columns::integer;
use crate::ledger::SqlLedger;
use crate::migrate;
use crate::open::{self, Durability, Layout};

const LAYOUT: Layout = Layout { tables: include_str!("state.sql"), steps: &[], durability: Durability::Boot };

/// Generations start from the clock and go up by one; they never reach half of what a column can hold.
const LAST_GENERATION: i64 = i64::MAX / 2;

/// The state in which [`crate::StateStore::create`] found the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// It is of this boot.
    Kept,
    /// There was none. Attachments that live in the kernel must be adopted before the first reservation.
    Fresh,
    /// It was of another boot; its contents are void.
    Rebooted,
    /// It was damaged and moved to this path. Attachments that live in the kernel must be adopted.
    Replaced(PathBuf),
}

pub(crate) fn check_schema(path: &Path) -> Result<(), StoreError> {
    migrate::check_at(path, &LAYOUT)
}

pub(crate) fn check_header(path: &Path) -> Result<(), StoreError> {
    migrate::check_header(path, &LAYOUT)
}

pub(crate) fn open(path: &Path, boot_id: &str) -> Result<Connection, StoreError> {
    let _lock = open::opening_lock(path)?;
    match open::open_existing(path, &LAYOUT, stored_boot)? {
        (connection, stored) if stored == boot_id => Ok(connection),
        (_, stored) => Err(StoreError::OtherBoot { path: path.to_owned(), stored }),
    }
}

pub(crate) fn create(path: &Path, boot_id: &str, now: Millis) -> Result<(Connection, Start), StoreError> {
    let _lock = open::creation_lock(path)?;
    let fill = |connection: &Connection| stamp(connection, boot_id, now);
    let start = match sound(path) {
        Ok((connection, stored)) if stored == boot_id => return Ok((connection, Start::Kept)),
        Ok((mut connection, _)) => {
            clear(&mut connection, boot_id, now).map_err(|error| StoreError::sqlite(path, error))?;
            return Ok((connection, Start::Rebooted));
        }
        Err(StoreError::Missing(_)) => Start::Fresh,
        Err(StoreError::Corrupt { .. }) => Start::Replaced(open::set_aside(path, &now.to_string())?),
        Err(error) => return Err(error),
    };
    open::make(path, &LAYOUT, fill)?;
    Ok((open::open_existing(path, &LAYOUT, stored_boot)?.0, start))
}

/// A database of today's schema whose pages and rows are all sound, and the boot it is of.
fn sound(path: &Path) -> Result<(Connection, String), StoreError> {
    let opened = open::open_existing(path, &LAYOUT, stored_boot);
    let (connection, stored) = match opened {
        Err(StoreError::Older { .. }) => {
            migrate::migrate(path, &LAYOUT)?;
            open::open_existing(path, &LAYOUT, stored_boot)?
        }
        opened => opened?,
    };
    open::check_pages(&connection, path)?;
    let view = SqlLedger { connection: &connection, path };
    // A row that cannot be read would make every operation fail that meets it.
    view.rows("", [])?;
    view.ranges_where("true", [])?;
    Ok((connection, stored))
}

/// Returns the boot that the store belongs to. A generation from which no assignment could continue is damage, found
/// before any change.
fn stored_boot(connection: &Connection) -> SqlResult<String> {
    connection.query_row("SELECT boot_id, generation FROM meta", [], |row| match row.get(1)? {
        0..=LAST_GENERATION => row.get(0),
        generation => Err(rusqlite::Error::IntegralValueOutOfRange(1, generation)),
    })
}

/// Sets the first generation from the clock, so that a store that is rebuilt within one boot never repeats a number
/// that is in a live veth's alias.
fn stamp(connection: &Connection, boot_id: &str, now: Millis) -> SqlResult<()> {
    let sql = "INSERT OR REPLACE INTO meta (id, boot_id, generation) \
               VALUES (1, ?1, max(?2, coalesce((SELECT generation FROM meta), 0)))";
    connection.execute(sql, params![boot_id, integer(now)]).map(drop)
}

fn clear(connection: &mut Connection, boot_id: &str, now: Millis) -> SqlResult<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch("DELETE FROM addresses; DELETE FROM chunks; DELETE FROM ranges")?;
    stamp(&transaction, boot_id, now)?;
    transaction.commit()
}
