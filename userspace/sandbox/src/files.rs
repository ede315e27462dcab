//! Directories of hosts, with the bpffs mounts in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::mount::{UnmountFlags, unmount};

/// Removes the directory and its content. Succeeds if there is none.
///
/// # Errors
/// Something in it cannot be removed, for example a mount.
pub fn remove(root: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("remove {}", root.display())),
    }
}

/// Number of attempts of [`again`].
const ATTEMPTS: usize = 100;

/// Calls `make`, which creates a directory and then something in it, and calls it again if somebody else removed the
/// directory, still empty, in between.
///
/// # Errors
/// The error of `make`.
pub fn again<T>(make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let is_gone =
        |result: &io::Result<T>| result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    (1..ATTEMPTS).map(|_| make()).find(|result| !is_gone(result)).unwrap_or_else(&make)
}

/// Unmounts everything below `root`, in the reverse order of mounting.
///
/// # Errors
/// procfs is not mounted, or a mount is in use.
pub fn unmount_below(root: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    for point in mount_points(&mounts, root).into_iter().rev() {
        unmount(&point, UnmountFlags::DETACH).with_context(|| format!("unmount {}", point.display()))?;
    }
    Ok(())
}

/// Mount points below `root` in `/proc/PID/mountinfo` (field 5), in the order they were mounted.
fn mount_points(mountinfo: &str, root: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(root)).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_directory_is_made_while_others_remove_its_parent() {
        let place = tempfile::tempdir().unwrap();
        let parent = place.path().join("parent");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let _ = fs::remove_dir(&parent);
                    thread::sleep(Duration::from_micros(10));
                }
            });
            let made = (0..5000).map(|number| {
                let own = parent.join(number.to_string());
                again(|| fs::create_dir_all(&own)).and_then(|()| fs::remove_dir(&own))
            });
            let failed = made.filter_map(Result::err).next();
            ended.store(true, Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }

    #[test]
    fn only_mounts_below_the_directory_are_found() {
        let mountinfo = "22 1 0:20 / /run rw - tmpfs tmpfs rw\n\
                         30 22 0:30 / /run/naru-lab/a/n1/bpf rw - bpf bpf rw\n\
                         31 22 0:31 / /run/naru-lab/ab/n1/bpf rw - bpf bpf rw\n";
        assert_eq!(
            mount_points(mountinfo, Path::new("/run/naru-lab/a")),
            [Path::new("/run/naru-lab/a/n1/bpf")]
        );
    }
}
