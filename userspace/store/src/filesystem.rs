//! The file systems on which a store may lie: those whose locks hold and whose syncs have an effect.

use std::fs;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statfs, statx};

use crate::StoreError;

/// Magic numbers of file systems (`include/uapi/linux/magic.h`, and the drivers' own) whose locks hold on
/// one machine only or not at all.
const NETWORK_FILESYSTEMS: [(u32, &str); 10] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x00c3_6400, "ceph"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "kafs"),
    (0x7375_7245, "coda"),
    (0x0bd0_0bd0, "lustre"),
];
/// A file system that a program serves, such as sshfs, a bucket or glusterfs: the kernel cannot tell the meaning of
/// its locks and syncs.
const FUSE: u32 = 0x6573_5546;
/// Types that show that number too and are local: a block device's, a virtual machine's share.
const LOCAL_FUSE: [&str; 2] = ["fuseblk", "virtiofs"];

/// Refuses a directory on a file system on which two processes could both believe that they hold the store.
pub(crate) fn refuse_unsafe(path: &Path, directory: &Path) -> Result<(), StoreError> {
    let facts = statfs(directory).map_err(|error| StoreError::io(path, "statfs", error.into()))?;
    let kind = match facts.f_type as u32 {
        FUSE => mounted_type(directory).filter(|kind| !LOCAL_FUSE.contains(&kind.as_str())),
        magic => network_filesystem(magic).map(str::to_owned),
    };
    kind.map_or(Ok(()), |kind| Err(StoreError::NetworkFilesystem { path: path.to_owned(), kind }))
}

fn network_filesystem(magic: u32) -> Option<&'static str> {
    NETWORK_FILESYSTEMS.iter().find(|(number, _)| *number == magic).map(|(_, kind)| *kind)
}

/// Returns the type of the directory's file system, `fuse` if that is unknown.
fn mounted_type(directory: &Path) -> Option<String> {
    let id = statx(CWD, directory, AtFlags::empty(), StatxFlags::MNT_ID).ok().map(|facts| facts.stx_mnt_id);
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let kind = id.and_then(|id| type_of(&table, id)).unwrap_or("fuse");
    Some(kind.to_owned())
}

/// The type of the mount `id` in a table of mounts (`proc(5)`, mountinfo: the first field, and the first after `-`).
fn type_of(table: &str, id: u64) -> Option<&str> {
    let id = id.to_string();
    let line = table.lines().find(|line| line.split(' ').next() == Some(&id))?;
    line.split_once(" - ")?.1.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic_and_local_ones_are_not() {
        assert_eq!(network_filesystem(0x6969), Some("nfs"));
        assert_eq!(network_filesystem(0xff53_4d42), Some("cifs"));
        for local in [0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630] {
            assert_eq!(network_filesystem(local), None);
        }
    }

    #[test]
    fn the_type_of_a_mount_is_read_from_the_table() {
        let table = "36 35 98:0 /mnt1 /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                     41 35 0:40 / /home rw,nosuid shared:5 - fuse.sshfs u@h:/ rw,user_id=0\n";
        assert_eq!((type_of(table, 36), type_of(table, 41)), (Some("ext3"), Some("fuse.sshfs")));
        assert_eq!(type_of(table, 3), None);
    }

    #[test]
    fn this_machine_s_own_directories_are_fit() {
        assert!(refuse_unsafe(Path::new("/tmp/state.db"), Path::new("/tmp")).is_ok());
    }
}
