//! The bpffs mount, and entries of the journal.

use std::collections::BTreeMap;

use naru_node::host::{ensure_bpffs, is_bpffs, undo, unmount_bpffs};

use super::scene::undo_all;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bpffs_is_mounted_once_and_unmounted_by_its_journal_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bpf");
    // A mount namespace of its own: nothing stays mounted whatever happens.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: only this thread leaves its mount namespace, and it ends right after.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let mut journal = BTreeMap::new();
            assert!(!is_bpffs(&path).unwrap());
            assert!(ensure_bpffs(&path, &mut journal).unwrap());
            assert!(!ensure_bpffs(&path, &mut journal).unwrap());
            let below = path.join("abi1");
            assert!(!ensure_bpffs(&below, &mut journal).unwrap(), "a directory on a bpffs is used as it is");
            assert!(!unmount_bpffs(&below).unwrap(), "and is not ours to unmount");
            assert!(is_bpffs(&path).unwrap());
            // As a plugin that looks for a pin just then.
            let _somebody_is_in_it = std::fs::File::open(&path).unwrap();
            undo_all(&journal);
            assert!(!is_bpffs(&path).unwrap());
        });
    });
}

#[test]
fn a_journal_entry_of_an_unknown_kind_is_an_error_that_names_it() {
    for key in ["nonsense", "forward rm-rf", "forward nft too few", "forward nft bridge a b", "what is this"]
    {
        let error = undo(key, "").unwrap_err();
        assert_eq!(error.to_string(), format!("{key}: this version does not know how to undo that"));
    }
}
