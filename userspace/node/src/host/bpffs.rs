use std::{fs, io, path::Path};

use rustix::{
    fs::statfs,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

use super::{HostError, Journal, journal};

/// First word of a mount's key in the journal.
pub(super) const KEY: &str = "bpffs";
/// `BPF_FS_MAGIC`.
const MAGIC: i64 = 0xcafe_4a11;
/// `SYSFS_MAGIC`.
const SYSFS: i64 = 0x6265_6572;

/// Returns true if the directory lies on a bpffs; `false` when it is not there.
///
/// # Errors
/// It cannot be looked at.
pub fn is_bpffs(directory: &Path) -> Result<bool, HostError> {
    match statfs(directory) {
        #[allow(clippy::unnecessary_cast, reason = "the field's type differs between architectures")]
        Ok(system) => Ok(system.f_type as i64 == MAGIC),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(HostError::file(directory, "look at", errno)),
    }
}

/// Refuses a directory that would be made in sysfs, where nobody makes one: the host has no bpffs at `/sys/fs/bpf`.
///
/// # Errors
/// [`HostError::NoBpffs`].
pub fn check_place(directory: &Path) -> Result<(), HostError> {
    let place = directory.ancestors().find(|above| above.is_dir()).unwrap_or(directory);
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between architectures")]
    match statfs(place) {
        Ok(system) if place != directory && system.f_type as i64 == SYSFS => {
            Err(HostError::NoBpffs { directory: directory.to_owned(), place: place.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Makes the directory and mounts a bpffs on it unless it is on one already; `true` when it was mounted.
///
/// # Errors
/// The directory cannot be made, remembered or mounted.
pub fn ensure_bpffs(directory: &Path, journal: &mut dyn Journal) -> Result<bool, HostError> {
    if !is_bpffs(directory)? {
        // In sysfs nobody makes a directory.
        fs::create_dir_all(directory).map_err(|error| refused(directory, "make", error))?;
    }
    if is_bpffs(directory)? {
        return Ok(false);
    }
    journal::remember(journal, &format!("{KEY} {}", directory.display()), "")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", directory, "bpf", flags, Some(c"mode=0700"))
        .map_err(|errno| refused(directory, "mount bpffs", errno.into()))?;
    Ok(true)
}

/// An agent in a container may not mount, and the host would not see it.
fn refused(directory: &Path, action: &'static str, error: io::Error) -> HostError {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let mut above = directory.ancestors().skip(1);
            let place = above.find(|above| above.is_dir()).unwrap_or(directory);
            HostError::NoBpffs { directory: directory.to_owned(), place: place.to_owned() }
        }
        _ => HostError::file(directory, action, error),
    }
}

/// Unmounts the bpffs whose root the directory is; returns false if there is none. A process may be in it just then,
/// such as a plugin that looks for a pin, or an administrator's shell: the directory is free at once, and the file
/// system goes when that process leaves.
///
/// # Errors
/// The kernel refuses.
pub fn unmount_bpffs(directory: &Path) -> Result<bool, HostError> {
    if !is_bpffs(directory)? || !is_mount_point(directory)? {
        return Ok(false);
    }
    unmount(directory, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
        .map(|()| true)
        .map_err(|errno| HostError::file(directory, "unmount bpffs", errno))
}

/// Returns true if the directory is the root of its file system, told by its parent lying on another one.
fn is_mount_point(directory: &Path) -> Result<bool, HostError> {
    let look = |path: &Path| -> Result<u64, HostError> {
        let failed = |error: io::Error| HostError::file(path, "look at", error);
        fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::dev(&found)).map_err(failed)
    };
    Ok(look(directory)? != look(&directory.join(".."))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_would_lie_in_sysfs_is_refused_with_the_place_to_mount_at() {
        let refused = check_place(Path::new("/sys/kernel/naru-test/maps")).unwrap_err().to_string();
        assert!(refused.contains("run mount -t bpf bpf /sys/kernel on the host"), "{refused}");
        check_place(&std::env::temp_dir().join("naru-test/maps")).unwrap();
        check_place(Path::new("/sys/kernel")).unwrap();
    }
}
