//! Kind 18: the right to open a file is a power. A process that can open a file can lock it, and one that can read a
//! database can keep others from writing it.
#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod machine;

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use machine::{Machine, pod::Pod};
use serde_json::json;

/// Files that processes of the node lock: lock files, databases with their companions, and the directory of the pins.
fn locked(machine: &Machine) -> Vec<PathBuf> {
    let directories = [machine.path("run"), machine.path("state")];
    let entries = directories.iter().flat_map(|directory| fs::read_dir(directory).unwrap());
    let is_locked = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        path.is_file() && (name.ends_with("lock") || name.contains(".db"))
    };
    let files = entries.map(|entry| entry.unwrap().path()).filter(is_locked);
    files.chain([machine.pins()]).collect()
}

fn open_to_others(machine: &Machine) -> Vec<PathBuf> {
    let mut all = locked(machine);
    all.retain(|path| fs::metadata(path).unwrap().permissions().mode() & 0o077 != 0);
    all
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nobody_but_root_can_open_what_processes_lock_and_what_older_ones_left_open_is_closed() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (first, second) = (Pod::new(&machine, "first", json!({})), Pod::new(&machine, "second", json!({})));
    first.add(&machine);
    drop(machine.agent());
    assert!(locked(&machine).len() >= 6, "{:?}", locked(&machine));
    assert_eq!(open_to_others(&machine), Vec::<PathBuf>::new());
    for path in locked(&machine) {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    machine.ok(&["init"]);
    second.add(&machine);
    drop(machine.agent());
    assert_eq!(open_to_others(&machine), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lock_that_another_process_keeps_is_named_and_not_waited_for_without_end() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let kept = File::open(machine.path("run/lock")).unwrap();
    kept.lock_shared().unwrap();
    let told = machine.refused(&["init"]);
    assert!(told.contains("run/lock: another process has kept this lock for 20 seconds"), "{told}");
    drop(kept);
    machine.ok(&["init"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_process_that_keeps_the_agents_lock_and_is_no_agent_is_not_taken_for_one() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let kept = File::create(machine.path("run/agent.lock")).unwrap();
    kept.lock().unwrap();
    let told = machine.refused(&["uninstall", "--force"]);
    assert!(told.contains("run/agent.lock: locked by a process that is no naru agent"), "{told}");
    drop(kept);
    machine.ok(&["uninstall"]);
}
