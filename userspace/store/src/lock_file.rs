//! Files that processes of one node lock against each other.
//!
//! A process that can open a file can lock it (flock(2): "regardless of the mode in which the file was opened"), and
//! one that can read a database can keep others from writing it. So these files are accessible to root only, and no
//! process waits for a lock for ever.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Longest time that a process waits for a lock that another one holds. Init, the longest work under a lock, takes a
/// second.
pub const LIMIT: Duration = Duration::from_secs(20);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(5);
/// Readable and writable for the owner.
const MODE: u32 = 0o600;

/// The kind of a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Nobody else has the lock meanwhile.
    Alone,
    /// Others may have it the same way.
    Shared,
}

/// Opens a lock file for reading and writing, and makes it if it is absent. If others may open it, their access is
/// removed.
///
/// # Errors
/// The file cannot be opened or made.
pub fn open(path: &Path) -> io::Result<File> {
    let open =
        || OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(MODE).open(path);
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            make_way(path)?;
            open()?
        }
        opened => opened?,
    };
    close_to_others(&file)?;
    Ok(file)
}

/// Clears the place of one of our files if a directory has its name: an empty one is removed, another is moved aside.
///
/// # Errors
/// It can be neither removed nor moved.
pub fn make_way(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => set_aside(path).map(drop),
        done => done,
    }
}

/// Moves something away from the place of one of our files, to an unused name beside it. Returns that name.
///
/// # Errors
/// It cannot be moved.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mark = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let aside = path.with_file_name(format!("{name}.damaged-{mark:x}"));
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Removes the access of group and others to a file, if they have any.
///
/// # Errors
/// The file is another user's, or its file system is read-only.
pub fn close_to_others(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode & 0o700)) }
}

/// Takes the lock. Returns false if another process held it for the whole of `limit`.
///
/// # Errors
/// The kernel refuses for another reason.
pub fn take(file: &File, hold: Hold, limit: Duration) -> io::Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let attempt = match hold {
            Hold::Alone => file.try_lock(),
            Hold::Shared => file.try_lock_shared(),
        };
        match attempt {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_could_open_is_closed_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::fs::write(&path, "7").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "7", "its content stays");
    }

    #[test]
    fn a_directory_in_its_place_makes_way_with_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        fs::create_dir(&path).unwrap();
        open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("theirs")).unwrap();
        open(&path).unwrap();
        let names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let aside = names.iter().find(|name| **name != path).unwrap();
        assert!(path.is_file() && aside.join("theirs").is_dir());
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let (holder, other) = (open(&path).unwrap(), open(&path).unwrap());
        assert!(take(&holder, Hold::Shared, Duration::ZERO).unwrap());
        assert!(!take(&other, Hold::Alone, Duration::from_millis(20)).unwrap());
        assert!(take(&other, Hold::Shared, Duration::ZERO).unwrap());
        drop((holder, other));
        assert!(take(&open(&path).unwrap(), Hold::Alone, Duration::ZERO).unwrap());
    }
}
