//! The file's own life: made, voided, moved aside, refused.

use std::fs;
use std::os::unix::fs::FileExt;
use std::thread;

use naru_core::ipam::{AddressRequest, Domain};
use naru_store::{NodeStore, Start, StateStore, StoreError};

use super::scene::{BOOT, Scene, id, request, spec};

#[test]
fn a_store_that_was_never_made_is_missing() {
    let scene = Scene::new();
    assert!(matches!(StateStore::open(&scene.path, BOOT), Err(StoreError::Missing(_))));
    assert_eq!(scene.start(BOOT), Start::Fresh);
    assert_eq!(scene.open().boot_id(), BOOT);
}

#[test]
fn a_store_of_this_boot_is_kept() {
    let (scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    store.reserve(&request("c1", 1), 0).unwrap();
    assert_eq!(scene.start(BOOT), Start::Kept);
    assert_eq!(scene.open().lease_of(&Domain::naru(), &id("c1")).unwrap().len(), 1);
}

#[test]
fn another_boot_voids_the_store() {
    let (scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    let old = store.reserve(&request("c1", 1), 0).unwrap();
    drop(store);
    let refused = StateStore::open(&scene.path, "boot-2").unwrap_err();
    assert!(matches!(&refused, StoreError::OtherBoot { stored, .. } if stored == BOOT), "{refused}");
    assert_eq!(scene.start("boot-2"), Start::Rebooted);
    let mut store = StateStore::open(&scene.path, "boot-2").unwrap();
    assert!(store.rows().unwrap().is_empty());
    assert!(store.ranges().unwrap().is_empty());
    store.set_ranges(&spec(&["10.0.0.0/24"]), 0).unwrap();
    assert!(store.reserve(&request("c1", 1), 0).unwrap().generation > old.generation);
}

#[test]
fn a_wiped_directory_is_made_again_even_where_a_journal_was_left() {
    let (scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
    store.reserve(&request("c1", 1), 0).unwrap();
    drop(store);
    fs::remove_file(&scene.path).unwrap();
    assert!(
        scene.path.with_file_name("state.db-journal").exists(),
        "the journal outlives the last connection"
    );
    assert_eq!(scene.start(BOOT), Start::Fresh);
    assert!(scene.open().rows().unwrap().is_empty());
    fs::remove_dir_all(scene.path.parent().unwrap()).unwrap();
    assert!(matches!(StateStore::open(&scene.path, BOOT), Err(StoreError::Missing(_))));
    assert_eq!(scene.start(BOOT), Start::Fresh);
}

#[test]
fn a_damaged_store_is_refused_moved_aside_and_made_again() {
    for (damage, offset) in [(&b"this is no database"[..], 0), (&[0xff; 4096], 8192)] {
        let (scene, mut store) = Scene::with_ranges(&["10.0.0.0/24"]);
        store.reserve(&request("c1", 1), 0).unwrap();
        drop(store);
        fs::File::options().write(true).open(&scene.path).unwrap().write_all_at(damage, offset).unwrap();
        let Start::Replaced(aside) = scene.start(BOOT) else { panic!("damage at {offset} was not seen") };
        assert!(aside.exists());
        assert!(scene.open().rows().unwrap().is_empty());
    }
}

#[test]
fn a_store_of_a_newer_schema_is_left_alone() {
    let (scene, store) = Scene::with_ranges(&["10.0.0.0/24"]);
    drop(store);
    let connection = rusqlite::Connection::open(&scene.path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    for refused in
        [StateStore::open(&scene.path, BOOT).err(), StateStore::create(&scene.path, BOOT, 0).map(drop).err()]
    {
        let refused = refused.unwrap();
        assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
        assert!(refused.may_pass());
    }
}

#[test]
fn many_creators_at_once_make_one_store() {
    for _ in 0..10 {
        let scene = Scene::new();
        let starts: Vec<Start> = thread::scope(|scope| {
            let creators: Vec<_> = (0..8).map(|_| scope.spawn(|| scene.start(BOOT))).collect();
            creators.into_iter().map(|creator| creator.join().unwrap()).collect()
        });
        assert_eq!(starts.iter().filter(|start| **start == Start::Fresh).count(), 1);
        assert_eq!(starts.iter().filter(|start| **start == Start::Kept).count(), 7);
    }
}

#[test]
fn a_store_that_one_short_process_after_another_uses_does_not_grow() {
    let (scene, store) = Scene::with_ranges(&["10.0.0.0/24"]);
    drop(store);
    let turn = |turn: u64| {
        let request = request(&format!("c{turn}"), 1);
        scene.open().reserve(&AddressRequest { cooling: 1, ..request.clone() }, turn).unwrap();
        scene.open().release(&Domain::naru(), &request.owner, turn).unwrap();
    };
    (0..20).for_each(turn);
    let before = size(&scene);
    (20..400).for_each(turn);
    assert!(size(&scene) < before + 16 * 4096, "{before} bytes became {}", size(&scene));
}

#[test]
fn the_log_of_a_store_on_disk_is_written_back_in_time() {
    let scene = Scene::new();
    for turn in 0..400 {
        // One transaction a process: the log keeps everything that it writes.
        NodeStore::open(&scene.path).unwrap().identity(&format!("node{turn}")).unwrap();
    }
    assert!(size(&scene) < 2 << 20, "{} bytes", size(&scene));
    assert_eq!(NodeStore::open(&scene.path).unwrap().identity("node399").unwrap().name, "node399");
}

/// Bytes of everything in the store's directory.
fn size(scene: &Scene) -> u64 {
    let files = fs::read_dir(scene.path.parent().unwrap()).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_file_system_that_is_not_there_or_full_is_named() {
    let refused = StateStore::create("/proc/naru/state.db".as_ref(), BOOT, 0).unwrap_err();
    assert!(refused.to_string().starts_with("store /proc/naru/state.db: make its directory: "), "{refused}");
    let refused = NodeStore::open("/proc/naru/node.db".as_ref()).unwrap_err();
    assert!(refused.to_string().starts_with("store /proc/naru/node.db: "), "{refused}");
}
