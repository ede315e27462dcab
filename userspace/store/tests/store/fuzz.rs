//! Any value in any column is an error that is reported, or repaired; it is never a panic, and never leads to one
//! address for two.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use naru_core::ipam::{AddressRequest, Domain, Family};
use naru_store::{DelegatedLease, NodeStore, Start, StateStore, StoreError};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::scene::{BOOT, POOL, Scene, id, request, spec};

const RANGES: [&str; 2] = ["10.0.0.0/28", "fd00::/124"];
const HOLDERS: u64 = 3;
const STATE: [(&str, &str, &[&str]); 4] = [
    ("meta", "id", &["boot_id", "generation"]),
    ("ranges", "id", &["domain", "pool", "first", "prefix_len", "draining", "cursor", "turn"]),
    ("chunks", "range_id", &["range_id", "idx", "free", "bits"]),
    (
        "addresses",
        "address",
        &[
            "domain",
            "address",
            "state",
            "owner",
            "pod_namespace",
            "pod_name",
            "pod_uid",
            "note",
            "netns",
            "ifindex",
            "generation",
            "since",
            "confirmed",
        ],
    ),
];
const NODE: [(&str, &str, &[&str]); 4] = [
    ("facts", "key", &["key", "value"]),
    ("blocks", "position", &["position", "net"]),
    ("journal", "number", &["number", "key", "before"]),
    (
        "delegated",
        "container",
        &["network", "container", "ifname", "plugin", "conf", "args", "path", "boot_id", "since", "result"],
    ),
];

/// A column of one row, and its new value.
#[derive(Clone, Debug)]
struct Spoil {
    table: usize,
    column: usize,
    row: u8,
    value: Value,
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (-2..40_i64).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        ".{0,12}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Blob),
        prop::collection::vec(any::<u8>(), 16).prop_map(Value::Blob),
        prop::collection::vec(any::<u8>(), 512).prop_map(Value::Blob),
        prop_oneof![Just(0_u8), Just(255)].prop_map(|byte| Value::Blob(vec![byte; 512])),
    ];
    (0..4_usize, 0..13_usize, any::<u8>(), value).prop_map(|(table, column, row, value)| Spoil {
        table,
        column,
        row,
        value,
    })
}

/// Removes the constraints of the tables, which keep wrong values out: a damaged page has none either.
fn loosen(connection: &Connection) {
    let sql = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = \
               replace(replace(replace(replace(sql, ' STRICT, WITHOUT', ' WITHOUT'), ' STRICT', ''), \
               'NOT NULL,', ','), 'NOT NULL CHECK', 'CHECK'); PRAGMA writable_schema = RESET";
    connection.execute_batch(sql).unwrap();
}

/// Writes the value; one that a key refuses is not written.
fn apply(path: &Path, tables: &[(&str, &str, &[&str]); 4], spoils: &[Spoil]) {
    loosen(&Connection::open(path).unwrap());
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    for Spoil { table, column, row, value } in spoils {
        let (table, key, columns) = tables[*table];
        let column = columns[column % columns.len()];
        let rows: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        let offset = i64::from(*row) % rows.max(1);
        let sql = format!(
            "UPDATE OR IGNORE {table} SET {column} = ?1 \
             WHERE {key} = (SELECT {key} FROM {table} LIMIT 1 OFFSET {offset})"
        );
        let _ = connection.execute(&sql, [value]);
    }
}

/// Runs every operation that a process may request of the store. Returns the addresses that new attachments got.
fn use_it(store: &mut StateStore) -> Vec<IpAddr> {
    let naru = Domain::naru();
    let rows = store.rows().unwrap_or_default();
    let _ = (
        store.ranges(),
        store.index_faults(),
        store.usage(&naru, POOL, Family::V4),
        store.lease_of(&naru, &id("h0")),
    );
    let mut given = Vec::new();
    for number in 0..6 {
        let one = AddressRequest { cooling: u64::MAX, ..request(&format!("new{number}"), 9) };
        if let Ok(assignment) = store.reserve(&one, 1_000) {
            let _ = store.confirm(&naru, &one.owner, assignment.generation, 3);
            given.extend(assignment.addresses);
        }
    }
    let _ = store.mend_index();
    for row in rows.iter().take(4) {
        let _ = store.free_if_generation(&row.domain, row.address, row.generation, 1_001);
    }
    let _ = (
        store.release(&naru, &id("h1"), 1_002),
        store.sweep_all(1, 9_000),
        store.set_ranges(&spec(&RANGES), 9_001),
    );
    given
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_and_the_store_is_made_anew() {
    let (scene, mut store) = Scene::with_ranges(&RANGES);
    store.reserve(&request("h0", 1), 0).unwrap();
    drop(store);
    let owner = STATE[3].2.iter().position(|column| *column == "owner").unwrap();
    let spoils =
        [0, 1, 2].map(|row| Spoil { table: 3, column: owner, row, value: Value::Text("whose".into()) });
    apply(&scene.path, &STATE, &spoils);
    let refused = scene.open().rows().unwrap_err();
    assert!(matches!(&refused, StoreError::Corrupt { .. }) && refused.wants_creation(), "{refused}");
    assert!(matches!(scene.start(BOOT), Start::Replaced(_)));
}

#[test]
fn a_generation_that_cannot_go_on_is_damage_in_every_boot() {
    let column = STATE[0].2.iter().position(|column| *column == "generation").unwrap();
    for value in [Value::Real(2.5e280), Value::Integer(i64::MAX), Value::Integer(-1)] {
        for boot in [BOOT, "another"] {
            let (scene, store) = Scene::with_ranges(&RANGES);
            drop(store);
            apply(&scene.path, &STATE, &[Spoil { table: 0, column, row: 0, value: value.clone() }]);
            assert!(matches!(StateStore::open(&scene.path, boot), Err(StoreError::Corrupt { .. })));
            let (mut store, start) = StateStore::create(&scene.path, boot, 10_000).unwrap();
            assert!(matches!(start, Start::Replaced(_)), "{value:?}: {start:?}");
            store.set_ranges(&spec(&RANGES), 10_000).unwrap();
            assert_eq!(store.reserve(&request("last", 2), 10_001).unwrap().addresses.len(), 2);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_in_any_column_of_the_state_is_told_or_put_right(spoils in prop::collection::vec(spoil(), 1..4)) {
        let (scene, mut store) = Scene::with_ranges(&RANGES);
        let holders = (0..HOLDERS).map(|number| request(&format!("h{number}"), 1));
        holders.for_each(|holder| drop(store.reserve(&holder, 0).unwrap()));
        drop(store);
        apply(&scene.path, &STATE, &spoils);
        let still_held = |store: &StateStore| -> BTreeSet<IpAddr> {
            let rows = store.rows().unwrap_or_default().into_iter();
            rows.filter(|row| row.domain == Domain::naru()).map(|row| row.address).collect()
        };
        if let Ok(mut store) = StateStore::open(&scene.path, BOOT) {
            let held = still_held(&store);
            let given = use_it(&mut store);
            let once: BTreeSet<_> = given.iter().copied().collect();
            prop_assert_eq!(once.len(), given.len(), "given twice: {:?}", &given);
            prop_assert!(once.is_disjoint(&held), "{:?} given, {:?} held", &once, &held);
        }
        // A store that cannot be read is moved aside at the next start, and serves again.
        let (mut store, start) = StateStore::create(&scene.path, BOOT, 10_000).unwrap();
        prop_assert!(store.rows().is_ok() && store.ranges().is_ok(), "{:?}", start);
        if start != Start::Kept {
            store.set_ranges(&spec(&RANGES), 10_000).unwrap();
            prop_assert_eq!(store.reserve(&request("last", 2), 10_001).unwrap().addresses.len(), 2);
        }
    }

    #[test]
    fn any_value_in_any_column_of_the_node_is_told_or_put_right(spoils in prop::collection::vec(spoil(), 1..4)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.db");
        let mut store = NodeStore::open(&path).unwrap();
        store.identity("n1").unwrap();
        store.set_blocks(&["10.0.0.0/24".parse().unwrap(), "fd00::/112".parse().unwrap()]).unwrap();
        store.set_last_boot(BOOT).unwrap();
        store.journal_once("sysctl/net/ipv4/ip_forward", "0").unwrap();
        let (conf, args, result) = (b"{}".to_vec(), String::new(), Some("{}".to_owned()));
        let (plugin, boot_id) = ("static".to_owned(), BOOT.to_owned());
        let lease = DelegatedLease { id: id("c1"), plugin, conf, args, path: "/x".into(), boot_id, since: 7, result };
        store.put_delegated(&lease).unwrap();
        drop(store);
        apply(&path, &NODE, &spoils);
        if let Ok(mut store) = NodeStore::open(&path) {
            let _ = (store.blocks(), store.last_boot(), store.delegated(), store.delegated_of(&id("c1")));
            let _ = (store.identity("n2"), store.set_blocks(&[]));
            let _ = (store.forget_delegated(&id("c1")), store.put_delegated(&lease));
        }
    }
}
