//! Opening a database file so that any number of short-lived processes may use it at once.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::iter;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::{
    StoreError, filesystem,
    lock_file::{self, Hold},
    migrate,
};

/// Number of attempts to get the database, and the pause after each: 10 s in all. A transaction takes less than a
/// millisecond; the library's own pauses soon are 25 and 100 times that.
const LOOKS: [(i32, Duration); 2] = [(100, Duration::from_micros(500)), (2000, Duration::from_millis(5))];
/// Size at which the log of a database on disk is written back.
const LOG_LIMIT: u64 = 1 << 20;

/// The extent to which writes wait for the disk, and with it the kind of journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// Not durable: a crash of the kernel makes the contents void anyway. The rollback journal is a file that stays
    /// beside the database. A write-ahead log would be read whole, and its index made anew, by every process that is
    /// alone with it, and would grow for ever: only a second transaction of one process begins it again.
    Boot,
    /// Every transaction is on the disk when it returns, by one sync of a write-ahead log.
    Disk,
}

/// The expected layout of a database file.
pub(crate) struct Layout {
    /// Statements that make the tables of the newest schema.
    pub(crate) tables: &'static str,
    /// Statements that turn the tables of a schema into those of the next, from schema 1 on.
    pub(crate) steps: &'static [&'static str],
    pub(crate) durability: Durability,
}

impl Layout {
    /// Number of the newest schema, kept in `user_version`.
    pub(crate) fn schema(&self) -> i64 {
        self.steps.iter().fold(1, |schema, _| schema + 1)
    }
}

/// Takes the right to open a database, which is held until the first statement has run: until then a database that
/// replaces it meanwhile could be given this one's log. Waits for a [`creation_lock`].
pub(crate) fn opening_lock(path: &Path) -> Result<File, StoreError> {
    let lock = match File::open(beside(path, LOCK)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::Missing(path.to_owned()));
        }
        other => other.map_err(|error| StoreError::io(path, "open its lock file", error))?,
    };
    // On a read-only file system nobody can be kept out either.
    let _ = lock_file::close_to_others(&lock);
    hold(&lock, Hold::Shared, path)?;
    Ok(lock)
}

/// Opens a database that exists and has this layout, and runs a first query. The caller holds one of the locks.
pub(crate) fn open_existing<T>(
    path: &Path,
    layout: &Layout,
    first: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<(Connection, T), StoreError> {
    let connection = connect_existing(path, layout)?;
    let named = |error| StoreError::sqlite(path, error);
    // One look at the file serves all queries: locking it and looking for a journal cost more than the queries.
    connection.execute_batch("BEGIN").map_err(named)?;
    migrate::check(&connection, path, layout)?;
    let answer = first(&connection).map_err(named)?;
    if layout.durability == Durability::Boot {
        connection.query_row("PRAGMA journal_mode = PERSIST", [], |_| Ok(())).map_err(named)?;
    }
    connection.execute_batch("COMMIT").map_err(named)?;
    if layout.durability == Durability::Disk && has_grown(path) {
        // If the log cannot be written back now (others read it, the disk is full), it is next time.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok((connection, answer))
}

/// Opens a database that exists, without a query. The caller holds one of the locks.
pub(crate) fn connect_existing(path: &Path, layout: &Layout) -> Result<Connection, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(StoreError::Corrupt { path: path.to_owned(), detail: "a directory".to_owned() });
        }
        Ok(metadata) if metadata.permissions().mode() & OF_OTHERS != 0 => close_to_others(path),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::Missing(path.to_owned()));
        }
        Err(error) => return Err(StoreError::io(path, "look it up", error)),
    }
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, layout)
}

/// Removes others' access to a database that an older naru made: a reader's lock keeps writers from committing. If that
/// fails, the database is used as it is.
fn close_to_others(path: &Path) {
    for file in iter::once(path.to_owned()).chain(COMPANIONS.iter().map(|suffix| beside(path, suffix))) {
        let _ = fs::set_permissions(file, Permissions::from_mode(0o600));
    }
}

/// Returns true if the database's log is to be written back.
fn has_grown(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > LOG_LIMIT)
}

/// Makes a new database beside its place and moves it there complete, so that nobody sees half of one. The caller holds
/// the [`creation_lock`]; `fill` fills the tables.
pub(crate) fn make(
    path: &Path,
    layout: &Layout,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let new = beside(path, NEW);
    remove_with_companions(&new)?;
    // The log of a deleted database would be applied to the new one.
    remove_with_companions(path)?;
    // The library gives the files beside it the same mode.
    let empty = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new);
    empty.map_err(|error| StoreError::io(&new, "make it", error))?;
    let connection =
        connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE, layout)?;
    let build = || {
        if layout.durability == Durability::Disk {
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
        }
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.execute_batch(layout.tables)?;
        connection.pragma_update(None, "user_version", layout.schema())?;
        fill(&connection)?;
        connection.execute_batch("COMMIT")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
    };
    build().map_err(|error| StoreError::sqlite(&new, error))?;
    connection.close().map_err(|(_, error)| StoreError::sqlite(&new, error))?;
    fs::rename(&new, path).map_err(|error| StoreError::io(path, "move it into place", error))?;
    match layout.durability {
        Durability::Boot => Ok(()),
        Durability::Disk => sync_directory(path),
    }
}

/// Syncs a directory: before that, a file in it may lose its name when the power fails.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")));
    let synced = directory.and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::io(path, "sync its directory", error))
}

/// The rights of group and others.
const OF_OTHERS: u32 = 0o077;
/// Suffixes of a database's name for its lock file, and for the file that is to replace it.
const LOCK: &str = ".lock";
const NEW: &str = ".new";
/// Separates a database's name from the mark of a damaged one that was moved aside.
const DAMAGED: &str = ".damaged-";
/// Suffixes of the files that the library keeps beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Returns true if a file beside the database at `path` with this name is the database, or belongs to it: its lock,
/// what the library keeps beside it, one that is being made, or a damaged one that was moved aside.
pub fn is_file_of(path: &Path, name: &str) -> bool {
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(rest) = name.strip_prefix(&*own) else { return false };
    let bare = COMPANIONS.iter().find_map(|suffix| rest.strip_suffix(suffix)).unwrap_or(rest);
    let is_mark =
        |mark: &str| !mark.is_empty() && mark.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    matches!(bare, "" | NEW) || rest == LOCK || bare.strip_prefix(DAMAGED).is_some_and(is_mark)
}

/// Databases that were moved aside from `path`, in order of their names, without their logs.
pub(crate) fn aside(path: &Path) -> Vec<PathBuf> {
    let entries = path.parent().and_then(|directory| fs::read_dir(directory).ok());
    let start = beside(path, DAMAGED);
    let is_aside = |found: &PathBuf| {
        let name = found.as_os_str().as_encoded_bytes();
        let is_companion = COMPANIONS.iter().any(|suffix| name.ends_with(suffix.as_bytes()));
        name.starts_with(start.as_os_str().as_encoded_bytes()) && !is_companion
    };
    let mut found: Vec<PathBuf> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_aside).collect();
    found.sort();
    found
}

/// Moves a damaged database with its log to another name; returns that name.
pub(crate) fn set_aside(path: &Path, mark: &str) -> Result<PathBuf, StoreError> {
    let aside = beside(path, &format!("{DAMAGED}{mark}"));
    fs::rename(path, &aside).map_err(|error| StoreError::io(path, "move it aside", error))?;
    for suffix in COMPANIONS {
        match fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io(path, "move its log aside", error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// Returns true if a database could be made at `path`; its directory may have to be made first.
pub(crate) fn check_place(path: &Path) -> Result<(), StoreError> {
    let directory = path.ancestors().skip(1).find(|directory| directory.is_dir());
    filesystem::refuse_unsafe(path, directory.unwrap_or(Path::new("/")))
}

/// Waits for the right to make or replace the database; given back when the file is dropped.
pub(crate) fn creation_lock(path: &Path) -> Result<File, StoreError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(|error| StoreError::io(path, "make its directory", error))?;
    filesystem::refuse_unsafe(path, directory)?;
    let lock = beside(path, LOCK);
    let file = lock_file::open(&lock).map_err(|error| StoreError::io(path, "open its lock file", error))?;
    hold(&file, Hold::Alone, path)?;
    Ok(file)
}

/// Takes a lock of the database at `path`.
fn hold(lock: &File, kind: Hold, path: &Path) -> Result<(), StoreError> {
    match lock_file::take(lock, kind, lock_file::LIMIT) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Busy(path.to_owned())),
        Err(error) => Err(StoreError::io(path, "lock it", error)),
    }
}

/// Runs `PRAGMA quick_check`, which fails if a page of the database is damaged.
pub(crate) fn check_pages(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict.map_err(|error| StoreError::sqlite(path, error))?.as_str() {
        "ok" => Ok(()),
        detail => Err(StoreError::Corrupt { path: path.to_owned(), detail: detail.to_owned() }),
    }
}

fn connect(path: &Path, flags: OpenFlags, layout: &Layout) -> Result<Connection, StoreError> {
    spare_memory();
    let open = || {
        let mut connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_handler(Some(look_again))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch(match layout.durability {
            Durability::Boot => "PRAGMA synchronous = OFF",
            Durability::Disk => "PRAGMA synchronous = FULL",
        })?;
        Ok(connection)
    };
    open().map_err(|error| StoreError::sqlite(path, error))
}

/// Keeps the library from allocating memory for a long life: a process that makes twenty queries would spend more time
/// on those pages than on the queries.
fn spare_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: before the library's first use nothing else can be in it; both calls take two numbers, the second a
        // null pointer before them. A refusal changes nothing.
        unsafe {
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, 0, 0);
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_PAGECACHE, std::ptr::null_mut::<std::ffi::c_void>(), 0, 0);
        }
    });
}

/// Returns true if to look again for the `looks`th time; waits before it says so.
fn look_again(looks: i32) -> bool {
    let pause = LOOKS.iter().find(|(until, _)| looks < *until);
    pause.map(|(_, pause)| thread::sleep(*pause)).is_some()
}

fn remove_with_companions(path: &Path) -> Result<(), StoreError> {
    let companions = COMPANIONS.map(|suffix| beside(path, suffix));
    for path in iter::once(path.to_owned()).chain(companions) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io(&path, "remove it", error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_keeps_the_whole_name() {
        assert_eq!(beside(Path::new("/run/naru/state.db"), "-wal"), Path::new("/run/naru/state.db-wal"));
    }
}
