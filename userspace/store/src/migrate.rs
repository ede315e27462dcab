//! Migration of an older schema to today's: one step from each schema to the next, all of them in one transaction. A
//! process that is killed meanwhile leaves the older schema whole; no copy is kept, because nothing is ever half done.

use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, Result as SqlResult, TransactionBehavior};

use crate::StoreError;
use crate::open::{self, Durability, Layout};

/// The beginning of every database, its length, and where `user_version` is in it (the library's file format, section
/// 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
const VERSION_AT: usize = 60;

/// Returns the file's schema. Zero means a database of somebody else, or one that was never finished.
pub(crate) fn schema(connection: &Connection) -> SqlResult<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Compares the file's schema with the one this naru works with.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Older`] where there are steps from it, else [`StoreError::Corrupt`].
pub(crate) fn check(connection: &Connection, path: &Path, layout: &Layout) -> Result<(), StoreError> {
    let (path, known) = (path.to_owned(), layout.schema());
    match schema(connection).map_err(|error| StoreError::sqlite(&path, error))? {
        found if found == known => Ok(()),
        found if found > known => Err(StoreError::Newer { path, found, known }),
        found @ 1.. => Err(StoreError::Older { path, found, known }),
        found => Err(StoreError::Corrupt { path, detail: format!("schema {found}") }),
    }
}

/// Compares the schema of the store at `path` with today's; as [`check`]. Reads only.
pub(crate) fn check_at(path: &Path, layout: &Layout) -> Result<(), StoreError> {
    // Opening a newer one would create files beside it.
    check_header(path, layout)?;
    let _lock = open::opening_lock(path)?;
    check(&open::connect_existing(path, layout)?, path, layout)
}

/// Refuses a newer schema without opening the database, since every ADD does this and has microseconds for it. A schema
/// that is still only in the log is not seen; a migration writes the log back.
pub(crate) fn check_header(path: &Path, layout: &Layout) -> Result<(), StoreError> {
    match glimpse(path) {
        Some(found) if found > layout.schema() => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: layout.schema() })
        }
        _ => Ok(()),
    }
}

/// The schema version in the header of the file; `None` if it is no database.
fn glimpse(path: &Path) -> Option<i64> {
    let mut header = [0; HEADER];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let number = header.get(VERSION_AT..).and_then(|rest| rest.first_chunk::<4>())?;
    header.starts_with(MAGIC).then(|| i32::from_be_bytes(*number).into())
}

/// Takes the steps that lead from the file's schema to today's, if any. The caller holds the [`open::creation_lock`].
///
/// # Errors
/// As [`check`], but for an older schema; a step that does not fit what it finds means damage, and changes nothing.
pub(crate) fn migrate(path: &Path, layout: &Layout) -> Result<(), StoreError> {
    let mut connection = open::connect_existing(path, layout)?;
    let named = |error| StoreError::sqlite(path, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(named)?;
    let found = match check(&transaction, path, layout) {
        Err(StoreError::Older { found, .. }) => found,
        other => return other,
    };
    open::check_pages(&transaction, path)?;
    let taken = usize::try_from(found).unwrap_or_default().saturating_sub(1);
    for (number, step) in layout.steps.iter().enumerate().skip(taken) {
        transaction.execute_batch(step).map_err(|error| unfit(path, number + 2, error))?;
    }
    transaction.pragma_update(None, "user_version", layout.schema()).map_err(named)?;
    crate::failpoint::reach("schema-written");
    transaction.commit().map_err(named)?;
    if layout.durability == Durability::Disk {
        // For readers of the header; if others read the log just now, the next opening writes it back.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok(())
}

/// Classifies a refusal: a statement that the library itself refuses, for example about a missing table, means damage,
/// because the schema's number promised otherwise. A full or read-only disk stays what it is.
fn unfit(path: &Path, schema: usize, error: rusqlite::Error) -> StoreError {
    match StoreError::sqlite(path, error) {
        StoreError::Sqlite { source, .. } => StoreError::Corrupt {
            path: path.to_owned(),
            detail: format!("step to schema {schema}: {source}"),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    const FIRST: &str = "CREATE TABLE notes (name TEXT PRIMARY KEY) STRICT";
    const STEPS: &[&str] = &[
        "ALTER TABLE notes ADD COLUMN weight INTEGER NOT NULL DEFAULT 7",
        "CREATE TABLE marks (name TEXT PRIMARY KEY, weight INTEGER NOT NULL) STRICT; \
         INSERT INTO marks SELECT name, weight + 1 FROM notes; DROP TABLE notes",
    ];
    const THIRD: &str = "CREATE TABLE marks (name TEXT PRIMARY KEY, weight INTEGER NOT NULL) STRICT";

    fn layout(tables: &'static str, steps: &'static [&'static str], durability: Durability) -> Layout {
        Layout { tables, steps, durability }
    }

    struct Older {
        _directory: tempfile::TempDir,
        path: PathBuf,
        durability: Durability,
    }

    impl Older {
        /// A store of schema 1 with one row.
        fn new(durability: Durability) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("some.db");
            let _lock = open::creation_lock(&path).unwrap();
            let fill = |connection: &Connection| {
                connection.execute("INSERT INTO notes VALUES ('kept')", []).map(drop)
            };
            open::make(&path, &layout(FIRST, &[], durability), fill).unwrap();
            Self { _directory: directory, path, durability }
        }

        fn migrate(&self, steps: &'static [&'static str]) -> Result<(), StoreError> {
            let _lock = open::creation_lock(&self.path).unwrap();
            migrate(&self.path, &layout(THIRD, steps, self.durability))
        }

        fn schema(&self) -> i64 {
            schema(&Connection::open(&self.path).unwrap()).unwrap()
        }
    }

    #[test]
    fn every_step_is_taken_once_and_the_rows_are_kept() {
        for durability in [Durability::Boot, Durability::Disk] {
            let older = Older::new(durability);
            older.migrate(STEPS).unwrap();
            older.migrate(STEPS).unwrap();
            let read = |connection: &Connection| {
                connection
                    .query_row("SELECT name, weight FROM marks", [], |row| Ok((row.get(0)?, row.get(1)?)))
            };
            let layout = layout(THIRD, STEPS, durability);
            let (_, row): (_, (String, i64)) = open::open_existing(&older.path, &layout, read).unwrap();
            assert_eq!(row, ("kept".to_owned(), 8), "{durability:?}");
        }
    }

    #[test]
    fn a_store_halfway_takes_only_the_steps_it_lacks() {
        let older = Older::new(Durability::Boot);
        older.migrate(&STEPS[..1]).unwrap();
        assert_eq!(older.schema(), 2);
        older.migrate(STEPS).unwrap();
        assert_eq!(older.schema(), 3);
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_schema_whole() {
        let older = Older::new(Durability::Disk);
        const UNFIT: &[&str] = &[STEPS[0], "INSERT INTO nowhere VALUES (1)"];
        let refused = older.migrate(UNFIT).unwrap_err();
        assert!(
            refused.to_string().contains("damaged: step to schema 3: no such table: nowhere"),
            "{refused}"
        );
        assert_eq!(older.schema(), 1);
        older.migrate(STEPS).unwrap();
        assert_eq!(older.schema(), 3);
    }

    #[test]
    fn a_newer_schema_is_refused_and_no_byte_of_it_is_changed() {
        let older = Older::new(Durability::Boot);
        older.migrate(STEPS).unwrap();
        let before = fs::read(&older.path).unwrap();
        let refused = older.migrate(&STEPS[..1]).unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 3, known: 2, .. }), "{refused}");
        assert_eq!(fs::read(&older.path).unwrap(), before);
    }

    #[test]
    fn the_header_tells_the_schema_of_a_migrated_store() {
        for durability in [Durability::Boot, Durability::Disk] {
            let older = Older::new(durability);
            assert_eq!(glimpse(&older.path), Some(1));
            older.migrate(STEPS).unwrap();
            assert_eq!(glimpse(&older.path), Some(3));
            fs::write(&older.path, "no database, though it is long enough to have a header ".repeat(3))
                .unwrap();
            assert_eq!(glimpse(&older.path), None);
        }
    }

    #[test]
    fn an_older_schema_is_no_damage_and_one_without_a_number_is() {
        let older = Older::new(Durability::Boot);
        let look = || open::open_existing(&older.path, &layout(THIRD, STEPS, Durability::Boot), |_| Ok(()));
        assert!(matches!(look(), Err(StoreError::Older { found: 1, known: 3, .. })));
        Connection::open(&older.path).unwrap().pragma_update(None, "user_version", 0).unwrap();
        assert!(matches!(look(), Err(StoreError::Corrupt { .. })));
    }
}
