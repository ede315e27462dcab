//! A file system that is full or read-only, in a mount namespace of the test's own.

use std::io::Write;
use std::path::Path;
use std::{fs, io, thread};

use naru_core::ipam::{Domain, IpamError};
use naru_store::{NodeStore, StateStore, StoreError};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;

use super::scene::{BOOT, id, request, spec};

/// Runs a test on a file system of a megabyte that nobody else sees.
fn on_a_small_disk(test: impl FnOnce(&Path) + Send) {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let run = || {
        // SAFETY: the thread shares no file descriptor table that it leaves; only its view of mounts changes.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("naru-test", path, "tmpfs", MountFlags::empty(), c"size=1m").unwrap();
        test(path);
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

fn fill(directory: &Path) {
    let mut file = fs::File::create(directory.join("ballast")).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_disk_is_named_and_costs_nothing_that_was_stored() {
    on_a_small_disk(|directory| {
        let path = directory.join("state.db");
        let mut store = StateStore::create(&path, BOOT, 0).unwrap().0;
        store.set_ranges(&spec(&["10.0.0.0/24"]), 0).unwrap();
        store.reserve(&request("c1", 1), 0).unwrap();
        fill(directory);
        // The pages that are there have room for some.
        let refusals: Vec<_> =
            (0..250).map(|number| store.reserve(&request(&format!("x{number}"), 1), 0)).collect();
        let refused = refusals.into_iter().find_map(Result::err).unwrap();
        assert!(matches!(&refused, IpamError::Store(StoreError::Full(_))), "{refused}");
        drop(store);
        match StateStore::open(&path, BOOT).and_then(|mut store| store.release(&Domain::naru(), &id("c1"), 0))
        {
            Ok(_) | Err(StoreError::Full(_)) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(matches!(StateStore::create(&directory.join("new.db"), BOOT, 0), Err(StoreError::Full(_))));
        assert!(matches!(NodeStore::open(&directory.join("node.db")), Err(StoreError::Full(_))));
        fs::remove_file(directory.join("ballast")).unwrap();
        let mut store = StateStore::open(&path, BOOT).unwrap();
        assert!(store.reserve(&request("c2", 1), 0).is_ok());
        assert!(!store.rows().unwrap().is_empty());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_read_only_disk_is_named() {
    on_a_small_disk(|directory| {
        let path = directory.join("state.db");
        let mut store = StateStore::create(&path, BOOT, 0).unwrap().0;
        store.set_ranges(&spec(&["10.0.0.0/24"]), 0).unwrap();
        drop(store);
        read_only(directory).unwrap();
        let refused = StateStore::open(&path, BOOT).map_err(IpamError::from);
        let refused = refused.and_then(|mut store| store.reserve(&request("c1", 1), 0)).unwrap_err();
        assert!(matches!(&refused, IpamError::Store(StoreError::ReadOnly(_))), "{refused}");
        assert!(matches!(
            StateStore::create(&directory.join("new.db"), BOOT, 0),
            Err(StoreError::ReadOnly(_))
        ));
    });
}

fn read_only(directory: &Path) -> io::Result<()> {
    Ok(mount_remount(directory, MountFlags::RDONLY, "")?)
}
