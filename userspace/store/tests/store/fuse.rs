//! A file system that a program serves, this one: the least of the kernel's protocol (`include/uapi/linux/fuse.h`)
//! that a directory needs to be mounted, looked at and found empty.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;

use naru_store::{NodeStore, StateStore, StoreError};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;

use super::scene::BOOT;

const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const FORGET: [u32; 2] = [2, 42];

/// Mounts such a file system as `kind`, as nobody else sees it, and runs the test on it.
fn on_a_served_directory(kind: &str, test: impl FnOnce(&Path) + Send) {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let run = || {
        // SAFETY: the thread shares no file descriptor table that it leaves; only its view of mounts changes.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).unwrap();
        mount("naru-test", path, kind, MountFlags::empty(), options.as_c_str()).unwrap();
        thread::scope(|scope| {
            let _mounted = Mounted(path);
            scope.spawn(|| serve(device));
            test(path);
        });
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

/// Goes with its guard, also on a panic; the kernel then ends the server's reading.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// Answers until the file system is unmounted.
fn serve(mut device: File) {
    let mut request = vec![0; 1 << 17];
    while device.read(&mut request).is_ok() {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let (operation, unique) = (word(4), &request[8..16]);
        if FORGET.contains(&operation) {
            continue;
        }
        let (error, body) = match operation {
            INIT => (0, words(&[7, 31, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            GETATTR => (0, [words(&[60, 0, 0, 0]), directory()].concat()),
            STATFS => (0, vec![0; 80]),
            LOOKUP => (-libc::ENOENT, Vec::new()),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap();
        let reply = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), unique, &body].concat();
        // The process that asked may be gone.
        let _ = device.write(&reply);
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct fuse_attr` of the root directory: inode 1, mode, two links, blocks of 4096 bytes.
fn directory() -> Vec<u8> {
    let (inode, mode) = ([1, 0], 0o040_755);
    let times = [0; 13];
    words(&[&inode[..], &times, &[mode, 2, 0, 0, 0, 4096, 0]].concat())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_directory_that_a_program_serves_is_refused_by_its_type() {
    for kind in ["fuse", "fuse.sshfs"] {
        on_a_served_directory(kind, |directory| {
            let refusals = [
                StateStore::create(&directory.join("state.db"), BOOT, 0).map(drop),
                NodeStore::open(&directory.join("node.db")).map(drop),
                StateStore::check_place(&directory.join("not/there/yet/state.db")),
            ];
            for refused in refusals {
                let refused = refused.unwrap_err();
                assert!(
                    matches!(&refused, StoreError::NetworkFilesystem { kind: found, .. } if found == kind)
                );
                let text = format!("on {kind}, a file system of a network or of a program");
                assert!(refused.to_string().contains(&text), "{refused}");
            }
        });
    }
}
