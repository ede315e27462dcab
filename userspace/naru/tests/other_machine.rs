//! Kind 18: the state of a node on a machine that is not that node. It is refused before anything is changed, by every
//! caller, and each refusal names a way out.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, process::Command};

use machine::{CLUSTER, Machine, NODE3, pod::Pod, run};
use serde_json::{Value, json};

const NEXT_BOOT: &str = "the-next-boot";

/// A machine with node 3's addresses, and with the state that node 1 left on its disk.
fn copy_of_node1() -> Machine {
    let original = Machine::clustered();
    original.ok(&["init"]);
    let copy = Machine::new();
    copy.write_cluster(&format!("{CLUSTER}{NODE3}"));
    run(Command::new("cp").arg("-r").arg(original.path("state")).arg(copy.path("state")));
    for line in [
        "addr del 198.51.100.1/24 dev up0",
        "addr add 198.51.100.3/24 dev up0",
        "addr del 2001:db8::1/64 dev up0",
        "addr add 2001:db8::3/64 dev up0 nodad",
        "route add default via 198.51.100.254",
    ] {
        copy.ip(line);
    }
    copy
}

/// The code and the message with which an ADD is refused.
fn refusal(machine: &Machine, pod: &Pod) -> (u64, String) {
    pod.add_as(machine, &pod.name).unwrap_err()
}

/// The log of an agent that fails its first pass.
fn refused_agent(machine: &Machine) -> String {
    let log = machine.path("../agent-of-").with_extension(std::process::id().to_string());
    let mut agent = machine.naru(&["agent"]);
    let mut agent = agent.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let told = || fs::read_to_string(&log).unwrap();
    machine::wait("the refusal", std::time::Duration::from_secs(60), || told().contains("ERROR"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    let told = told();
    fs::remove_file(log).unwrap();
    told
}

fn uid(machine: &Machine) -> String {
    let store = rusqlite::Connection::open(machine.path("state/node.db")).unwrap();
    store.query_row("SELECT value FROM facts WHERE key = 'node.uid'", [], |row| row.get(0)).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_copy_with_another_nodes_addresses_is_refused_by_all_and_nothing_is_changed() {
    let copy = copy_of_node1();
    let pod = Pod::new(&copy, "one", json!({}));
    let before = copy.snapshot();
    let told = copy.refused(&["init"]);
    assert!(
        told.contains("198.51.100.3 of node node3 is") && told.contains("naru uninstall --force"),
        "{told}"
    );
    let (code, told) = refusal(&copy, &pod);
    assert!(code == 11 && told.contains("none of its addresses is on this machine"), "{code} {told}");
    let told = refused_agent(&copy);
    assert!(told.contains("198.51.100.3 of node node3 is"), "{told}");
    assert_eq!(copy.snapshot(), before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_copy_that_is_given_its_own_name_is_a_node_of_its_own() {
    let copy = copy_of_node1();
    let of_node1 = uid(&copy);
    let mut init = copy.naru(&["init", "--node", "node3"]);
    run(init.env("NARU_MACHINE_ID", "a-copy").env_remove("NARU_NODE"));
    assert_ne!(uid(&copy), of_node1);
    let own = Pod::new(&copy, "one", json!({})).of_machine("a-copy").add(&copy);
    assert!(own[0].starts_with("10.32.2."), "{own:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_copy_with_the_originals_addresses_is_known_by_the_machine() {
    let machine = Machine::clustered();
    run(machine.naru(&["init"]).env("NARU_MACHINE_ID", "original"));
    run(machine.naru(&["init"]).env("NARU_MACHINE_ID", "original").env("NARU_BOOT_ID", NEXT_BOOT));
    let before = machine.snapshot();
    let copied =
        |arguments: &[&str]| machine.naru(arguments).env("NARU_MACHINE_ID", "copy").output().unwrap();
    let refused = copied(&["init"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("machine-id was original and is copy"), "{told}");
    assert!(told.contains("naru init --new-machine"), "{told}");
    let pod = Pod::new(&machine, "one", json!({})).of_machine("copy");
    let (code, told) = refusal(&machine, &pod);
    assert!(code == 11 && told.contains("made on another machine"), "{code} {told}");
    assert_eq!(machine.snapshot(), before);
    assert!(copied(&["init", "--new-machine"]).status.success(), "installed anew");
    assert!(copied(&["init"]).status.success(), "it is noted");
    pod.add(&machine);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn state_that_knows_no_machine_is_taken_and_notes_it() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let file = machine.path("state/init.json");
    let read = || -> Value { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    let mut settings = read();
    settings.as_object_mut().unwrap().remove("origin").unwrap();
    fs::write(&file, settings.to_string()).unwrap();
    run(machine.naru(&["init"]).env("NARU_MACHINE_ID", "this-one"));
    assert_eq!(read()["origin"]["system"], "this-one");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_that_lives_here_may_lose_its_addresses_and_after_a_reboot_waits_for_them() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    machine.ip("addr flush dev up0 scope global");
    machine.ip("addr add 203.0.113.5/24 dev up0");
    Pod::new(&machine, "one", json!({})).add(&machine);
    let pod = Pod::new(&machine, "two", json!({})).of_boot(NEXT_BOOT);
    assert_eq!(refusal(&machine, &pod).0, 11, "another machine's, by what can be seen");
    machine.ip("addr flush dev up0 scope global");
    pod.add(&machine);
}
