use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::HostError;

/// Puts `content` at `path` with `mode` so that every reader sees the old file or the whole new one, also after a
/// power cut: a temporary file of its own name beside it, fsync, rename, fsync of the directory. Makes missing
/// directories. Replaces a binary that is running. `false` when the file was already so.
///
/// # Errors
/// One of the steps fails; the old file is untouched and the temporary one removed.
pub fn install_file(path: &Path, content: &[u8], mode: u32) -> Result<bool, HostError> {
    if is_so(path, content, mode) {
        return Ok(false);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|error| HostError::file(directory, "make", error))?;
    put(&directory.join(temporary_name(path)), path, content, mode)?;
    sync(directory)?;
    Ok(true)
}

/// Writes the temporary file and moves it into place.
fn put(temporary: &Path, path: &Path, content: &[u8], mode: u32) -> Result<(), HostError> {
    // The temporary name differs each time; a caller that repeats it must recognise the same failure, so the error
    // names the file.
    let written = write(temporary, content, mode).map_err(|error| HostError::file(path, "write", error));
    let replaced = written.and_then(|()| rename(temporary, path));
    if replaced.is_err() {
        // The step that failed is the error to report.
        let _ = fs::remove_file(temporary);
    }
    replaced
}

/// Removes the file; `false` when it was gone already.
///
/// # Errors
/// The system refuses for another reason.
pub fn remove_file(path: &Path) -> Result<bool, HostError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(HostError::file(path, "remove", error)),
    }
}

/// Returns true if the file holds `content` with `mode`; one that cannot be read does not.
fn is_so(path: &Path, content: &[u8], mode: u32) -> bool {
    let plain = fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file() && found.permissions().mode() & 0o7777 == mode && found.len() == content.len() as u64
    });
    plain && fs::read(path).is_ok_and(|found| found == content)
}

/// Returns true if a file beside `path` with this name is one that [`install_file`] was killed over.
#[must_use]
pub fn is_temporary_of(path: &Path, name: &str) -> bool {
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let middle = name.strip_prefix('.').and_then(|rest| rest.strip_prefix(&*own));
    let numbers = middle.and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".tmp")?.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(process, count)| is_number(process) && is_number(count))
}

/// Returns a hidden name beside `path` that no other process and no other call uses, with a suffix that no program
/// looks for.
fn temporary_name(path: &Path) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".{name}.{}-{count}.tmp", process::id())
}

/// Writes the temporary file through to the disk. An existing one of that name belongs to a process long gone.
fn write(temporary: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    file.write_all(content)?;
    // The process's mask removed bits from the mode at creation.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Puts the temporary file in its place.
fn rename(temporary: &Path, path: &Path) -> Result<(), HostError> {
    fs::rename(temporary, path).map_err(|error| HostError::file(path, "replace", error))
}

/// Makes the rename durable.
fn sync(directory: &Path) -> Result<(), HostError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| HostError::file(directory, "sync", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_installed_with_its_mode_once_and_nothing_else_stays_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.d/05-naru.conflist");
        assert!(install_file(&path, b"{}", 0o644).unwrap());
        assert!(!install_file(&path, b"{}", 0o644).unwrap());
        assert!(install_file(&path, b"{}", 0o600).unwrap());
        assert!(install_file(&path, b"[]", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"[]");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_running_binary_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sleep");
        fs::copy("/bin/sleep", &path).unwrap();
        let mut running = process::Command::new(&path).arg("30").spawn().unwrap();
        let replaced = install_file(&path, b"#!/bin/sh\n", 0o755);
        running.kill().unwrap();
        running.wait().unwrap();
        assert!(replaced.unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"#!/bin/sh\n");
    }

    #[test]
    fn a_file_that_cannot_be_put_in_place_leaves_no_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();
        assert!(install_file(&path, b"x", 0o644).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_twice_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, "").unwrap();
        assert!(remove_file(&path).unwrap());
        assert!(!remove_file(&path).unwrap());
    }
}
