//! Many processes at one store, some of them killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use naru_core::ids::{Alias, AttachmentId, NetnsId};
use naru_core::ipam::{AddressRequest, Domain, Family, IpamError, Row, State};
use naru_core::reconcile::{Action, Facts, LiveLink, Pass, Policy, reconcile};
use naru_store::StateStore;

use super::scene::{BOOT, POOL, Scene, request, spec};

/// Set for a process that is one of many: its number, the directory, how often to act.
const WORKER: &str = "NARU_TEST_STORE_WORKER";
/// Attachments that one process makes and takes down.
const CONTAINERS: u64 = 3;
/// Fewer addresses than attachments, so that an address that one process gives back is given out again at once.
const RANGES: [&str; 2] = ["10.0.0.0/28", "fd00::/124"];

#[test]
fn processes_that_add_delete_and_die_never_share_an_address_and_leak_none() {
    crowd(&Crowd { processes: 16, operations: 40, killed: 5 });
}

#[test]
#[ignore = "takes half a minute: cargo xtask test"]
fn sixty_four_processes_with_two_hundred_operations_each_never_share_an_address_and_leak_none() {
    crowd(&Crowd { processes: 64, operations: 200, killed: 20 });
}

struct Crowd {
    processes: u64,
    operations: u64,
    killed: u64,
}

fn crowd(crowd: &Crowd) {
    let (scene, mut store) = Scene::with_ranges(&RANGES);
    let live = live_directory(&scene.path);
    fs::create_dir(&live).unwrap();
    let spawn = |number| (number, worker(&format!("{number} {} {}", crowd.operations, scene.path.display())));
    let mut children: Vec<(u64, Child)> = (0..crowd.processes).map(spawn).collect();
    let mut dead = BTreeSet::new();
    for (number, child) in children.iter_mut().take(crowd.killed as usize) {
        // From the first operation to somewhere in the middle.
        thread::sleep(Duration::from_millis(20 + 7 * *number));
        child.kill().unwrap();
        dead.insert(*number);
    }
    for (number, child) in &mut children {
        let status = finished(child);
        assert!(dead.contains(number) || status.success(), "process {number} found a duplicate or failed");
    }
    // The namespaces of those that were killed go, and with them their veths.
    for (address, id, _) in live_pods(&live) {
        if dead.contains(&number_of(&id)) {
            fs::remove_file(live.join(address.to_string())).unwrap();
        }
    }
    two_passes(&mut store, &live);
    assert_settled(&mut store, &live);
}

/// Checks that exactly the live attachments hold addresses, and that every other address can be had.
fn assert_settled(store: &mut StateStore, live: &Path) {
    let held: BTreeMap<IpAddr, AttachmentId> =
        live_pods(live).into_iter().map(|(address, id, _)| (address, id)).collect();
    let rows: Vec<Row> = store.rows().unwrap();
    let assigned = rows.iter().filter(|row| row.state == State::Assigned);
    let assigned: BTreeMap<_, _> = assigned.map(|row| (row.address, row.owner.clone().unwrap())).collect();
    assert_eq!(assigned, held);
    for family in Family::ALL {
        let usage = store.usage(&Domain::naru(), POOL, family).unwrap();
        let one = |number: u64| AddressRequest {
            families: vec![family],
            ..request(&format!("last{number}-{family}"), 1)
        };
        let got = (0..1000).take_while(|number| store.reserve(&one(*number), 10_000_000).is_ok()).count();
        assert_eq!(got as u64, usage.free() + usage.cooling, "{family}: bitmap and rows differ");
    }
}

fn two_passes(store: &mut StateStore, live: &Path) {
    let policy = Policy { gap: 1, unconfirmed_age: 1, prepared_age: 1 };
    let mut seen = Pass::default();
    for now in [1_000_000, 1_000_001] {
        let (actions, next) = reconcile(&facts(store, live), policy, &seen, now);
        for action in actions {
            match action {
                Action::Free { domain, address, generation } => {
                    store.free_if_generation(&domain, address, generation, now).unwrap();
                }
                Action::RestoreEntry { .. } | Action::RestoreRoute { .. } => {}
                other => panic!("the store lost a pod: {other:?}"),
            }
        }
        seen = next;
    }
}

fn facts(store: &StateStore, live: &Path) -> Facts {
    let mut links: BTreeMap<Alias, LiveLink> = BTreeMap::new();
    for (address, id, generation) in live_pods(live) {
        let alias = Alias::new(&id, naru_core::ids::Generation(generation));
        let ifindex = links.len() as u32 + 1;
        let new =
            LiveLink { ifindex, name: String::new(), alias: alias.clone(), addresses: vec![], netns: None };
        links.entry(alias).or_insert(new).addresses.push(address);
    }
    let rows = store.rows().unwrap();
    Facts {
        rows,
        links: links.into_values().collect(),
        netns: [NetnsId::Cookie(0)].into(),
        ..Facts::default()
    }
}

/// Stands for the kernel: a file for each address that a pod has, named by it.
fn live_directory(store: &Path) -> PathBuf {
    store.with_file_name("live")
}

fn live_pods(live: &Path) -> Vec<(IpAddr, AttachmentId, u64)> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let (container, generation) = text.split_once(' ')?;
        let address = entry.file_name().to_str().unwrap().parse().unwrap();
        Some((address, super::scene::id(container), generation.parse().unwrap()))
    };
    // A file without content: its process died in the middle of wiring, so that there is no veth.
    fs::read_dir(live).unwrap().filter_map(read).collect()
}

fn number_of(id: &AttachmentId) -> u64 {
    id.container().trim_start_matches('w').split('-').next().unwrap().parse().unwrap()
}

fn worker(task: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "store::processes::one_of_many"]);
    command.env(WORKER, task).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn finished(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if Instant::now() > deadline => panic!("a process hangs"),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Not a test of its own: the work of a process of the tests above.
#[test]
#[ignore = "a process of the tests beside it"]
fn one_of_many() {
    let Ok(task) = env::var(WORKER) else { return };
    let mut parts = task.splitn(3, ' ');
    let (number, operations): (u64, u64) =
        (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap());
    let path = PathBuf::from(parts.next().unwrap());
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for now in 0..operations {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let container = format!("w{number}-{}", random % CONTAINERS);
        // Every operation is a process of its own in life: it opens the store anew.
        let mut store = StateStore::open(&path, BOOT).unwrap();
        if random & 1024 == 0 {
            add(&mut store, &path, &container, now)
        } else {
            del(&mut store, &path, &container, now)
        }
    }
}

fn add(store: &mut StateStore, path: &Path, container: &str, now: u64) {
    let request = AddressRequest { cooling: 0, ..request(container, 1) };
    let assignment = match store.reserve(&request, now) {
        Ok(assignment) => assignment,
        Err(IpamError::Exhausted { .. }) => return,
        Err(error) => panic!("{container}: {error}"),
    };
    if assignment.reused {
        return;
    }
    for address in &assignment.addresses {
        let file = live_directory(path).join(address.to_string());
        match fs::File::create_new(&file) {
            Ok(_) => fs::write(&file, format!("{container} {}", assignment.generation)).unwrap(),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                panic!("{address}: given to {container} while {} has it", fs::read_to_string(&file).unwrap());
            }
            Err(error) => panic!("{error}"),
        }
    }
    store.confirm(&Domain::naru(), &request.owner, assignment.generation, 1).unwrap();
}

fn del(store: &mut StateStore, path: &Path, container: &str, now: u64) {
    let id = super::scene::id(container);
    for row in store.lease_of(&Domain::naru(), &id).unwrap() {
        fs::remove_file(live_directory(path).join(row.address.to_string())).unwrap();
    }
    store.release(&Domain::naru(), &id, now).unwrap();
}

#[test]
fn a_process_killed_in_a_transaction_leaves_nothing_of_it() {
    let (scene, mut store) = Scene::with_ranges(&RANGES);
    store.reserve(&request("before", 1), 0).unwrap();
    let rows = store.rows().unwrap();
    for _ in 0..5 {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([
            "--ignored",
            "--exact",
            "--nocapture",
            "store::processes::one_that_stays_in_a_transaction",
        ]);
        let mut child = command.env(WORKER, &scene.path).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map(Result::unwrap).any(|line| line.contains("in the middle")), "it never got there");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(scene.open().rows().unwrap(), rows);
        assert_eq!(scene.open().set_ranges(&spec(&RANGES), 0).unwrap().added, []);
    }
    assert_eq!(store.reserve(&request("after", 1), 0).unwrap().addresses.len(), 2);
}

/// Not a test of its own: the process that the test above kills.
#[test]
#[ignore = "a process of the test beside it"]
fn one_that_stays_in_a_transaction() {
    let Ok(path) = env::var(WORKER) else { return };
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    // Small enough a cache that the transaction's pages are in the log before it commits.
    connection
        .execute_batch("PRAGMA cache_size = 5; BEGIN IMMEDIATE; DELETE FROM chunks; DELETE FROM ranges")
        .unwrap();
    for number in 0..500_i64 {
        let sql = "INSERT INTO addresses SELECT domain, randomblob(16), state, owner, \
                   pod_namespace, pod_name, pod_uid, note || ?1, netns, ifindex, generation, since, confirmed \
                   FROM addresses WHERE state = 0 LIMIT 1";
        connection.execute(sql, [number]).unwrap();
    }
    println!("in the middle");
    thread::sleep(Duration::from_secs(60));
}
