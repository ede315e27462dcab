//! State that survives a reboot.

use naru_store::{NodeStore, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

/// Statements that turn today's store back into one of schema 1.
const BACK: &str = "DROP TABLE delegated; PRAGMA user_version = 1";

#[test]
fn a_store_of_the_first_schema_keeps_identity_and_journal_over_the_migration() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("node.db");
    let mut store = NodeStore::open(&path).unwrap();
    let identity = store.identity("node1").unwrap();
    store.journal_once("sysctl net/ipv4/ip_forward", "0").unwrap();
    store.set_blocks(&["10.32.1.0/24".parse().unwrap()]).unwrap();
    drop(store);
    Connection::open(&path).unwrap().execute_batch(BACK).unwrap();
    let refused = NodeStore::open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Older { found: 1, known: 2, .. }), "{refused}");
    let mut store = NodeStore::migrate(&path).unwrap();
    assert_eq!(store.replaced(), None);
    assert_eq!(store.identity("node1").unwrap(), identity);
    assert_eq!(store.journal_get("sysctl net/ipv4/ip_forward").unwrap().as_deref(), Some("0"));
    assert_eq!(store.blocks().unwrap().len(), 1);
    assert!(store.delegated().unwrap().is_empty());
    assert!(NodeStore::open(&path).is_ok(), "once is enough");
}

#[test]
fn a_node_store_of_a_newer_schema_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("node.db");
    drop(NodeStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for refused in [NodeStore::open(&path).unwrap_err(), NodeStore::migrate(&path).unwrap_err()] {
        assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
    }
}

#[test]
fn a_node_keeps_its_uid_for_ever_and_may_change_its_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state/node.db");
    let first = NodeStore::open(&path).unwrap().identity("node1").unwrap();
    let renamed = NodeStore::open(&path).unwrap().identity("node2").unwrap();
    assert_eq!((first.uid.len(), first.name.as_str()), (36, "node1"));
    assert_eq!((&renamed.uid, renamed.name.as_str()), (&first.uid, "node2"));
    let other = NodeStore::open(&directory.path().join("other.db")).unwrap().identity("node1").unwrap();
    assert_ne!(other.uid, first.uid);
}

#[test]
fn blocks_and_the_last_boot_are_read_back_as_set() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("node.db");
    let mut store = NodeStore::open(&path).unwrap();
    assert!(store.blocks().unwrap().is_empty());
    assert_eq!(store.last_boot().unwrap(), None);
    let blocks = ["10.32.1.0/24".parse().unwrap(), "fd00::/112".parse().unwrap()];
    store.set_blocks(&["10.0.0.0/8".parse().unwrap()]).unwrap();
    store.set_blocks(&blocks).unwrap();
    store.set_last_boot("boot-1").unwrap();
    store.set_last_boot("boot-2").unwrap();
    let store = NodeStore::open(&path).unwrap();
    assert_eq!(store.blocks().unwrap(), blocks);
    assert_eq!(store.last_boot().unwrap().as_deref(), Some("boot-2"));
}

#[test]
fn the_journal_keeps_the_first_note_and_is_undone_newest_first() {
    let directory = TempDir::new().unwrap();
    let mut store = NodeStore::open(&directory.path().join("node.db")).unwrap();
    assert!(store.journal_once("sysctl/net/ipv4/ip_forward", "0").unwrap());
    assert!(store.journal_once("sysctl/net/ipv4/conf/all/rp_filter", "2").unwrap());
    assert!(store.journal_once("file/10-naru.conflist", "").unwrap());
    assert!(!store.journal_once("sysctl/net/ipv4/ip_forward", "1").unwrap());
    let notes = store.journal("sysctl/").unwrap();
    let expected = [("sysctl/net/ipv4/conf/all/rp_filter", "2"), ("sysctl/net/ipv4/ip_forward", "0")];
    assert_eq!(notes, expected.map(|(key, before)| (key.to_owned(), before.to_owned())));
    assert_eq!(store.journal("").unwrap().len(), 3);
    assert_eq!(store.journal_get("sysctl/net/ipv4/ip_forward").unwrap().as_deref(), Some("0"));
    assert_eq!(store.journal_take("sysctl/net/ipv4/ip_forward").unwrap().as_deref(), Some("0"));
    assert_eq!(store.journal_take("sysctl/net/ipv4/ip_forward").unwrap(), None);
    assert!(store.journal_once("sysctl/net/ipv4/ip_forward", "1").unwrap());
}

#[test]
fn values_are_replaced() {
    let directory = TempDir::new().unwrap();
    let mut store = NodeStore::open(&directory.path().join("node.db")).unwrap();
    assert_eq!(store.value("tunnel.port").unwrap(), None);
    store.put("tunnel.port", "8472").unwrap();
    store.put("tunnel.port", "8473").unwrap();
    assert_eq!(store.value("tunnel.port").unwrap().as_deref(), Some("8473"));
}

#[test]
fn a_damaged_store_is_moved_aside_and_the_node_starts_as_a_new_one() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("node.db");
    let mut store = NodeStore::open(&path).unwrap();
    assert_eq!(store.replaced(), None);
    let before = store.identity("node1").unwrap();
    drop(store);
    std::fs::write(&path, "this is no database").unwrap();
    let mut store = NodeStore::open(&path).unwrap();
    assert_eq!(std::fs::read(store.replaced().unwrap()).unwrap(), b"this is no database");
    assert_ne!(store.identity("node1").unwrap().uid, before.uid);
    let copy = store.replaced().unwrap().to_owned();
    assert_eq!(NodeStore::open(&path).unwrap().replaced(), None);
    assert_eq!(NodeStore::damaged_copies(&path), [copy], "still to be seen");
    assert!(NodeStore::damaged_copies(&directory.path().join("other.db")).is_empty());
}
