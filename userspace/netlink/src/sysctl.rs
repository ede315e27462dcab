//! Sysctls of the calling thread's network namespace. Names are paths below `/proc/sys`, as `net/ipv4/ip_forward`.

use std::{fs::OpenOptions, io, os::unix::fs::FileExt, path::PathBuf};

/// Sets the value unless it is set already: some writes take the lock of the whole network configuration.
///
/// # Errors
/// There is no such sysctl, or the kernel refuses.
pub fn set(name: &str, value: &str) -> io::Result<()> {
    // The file is opened once for both: the kernel accepts a value only at the start of the file
    // (`kernel.sysctl_writes_strict`).
    let file = OpenOptions::new().read(true).write(true).open(path(name))?;
    let mut former = [0; 64];
    let length = file.read_at(&mut former, 0)?;
    if former.get(..length).unwrap_or_default().trim_ascii_end() == value.as_bytes() {
        return Ok(());
    }
    file.write_all_at(value.as_bytes(), 0)
}

/// The file of a sysctl.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}
