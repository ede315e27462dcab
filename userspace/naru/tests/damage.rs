//! Kind 21: undoing does not depend on notes alone. Whatever file of ours is lost, empty, cut, garbage, of another
//! version or a directory, there is a way out by a command of naru: init makes the node again, uninstall takes it away.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, path::Path};

use machine::{Machine, pod::Pod};
use serde_json::json;

/// Every file that a node has.
const FILES: [&str; 13] = [
    "run/state.db",
    "run/state.db.lock",
    "run/node.json",
    "run/ready.json",
    "run/nft.json",
    "run/undo.json",
    "run/lock",
    "run/agent.lock",
    "run/delegate.lock",
    "state/node.db",
    "state/node.db.lock",
    "state/init.json",
    "cni/conf/05-naru.conflist",
];

/// A damage, done to a file.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 7] = [
    ("lost", |path| fs::remove_file(path).unwrap()),
    ("empty", |path| fs::write(path, "").unwrap()),
    ("cut", |path| {
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..content.len() / 2]).unwrap();
    }),
    ("garbage", |path| fs::write(path, "\0{]garbage").unwrap()),
    ("of another version", |path| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        fs::write(path, text.replace("\"format\": 1", "\"format\": 0").replace("\"abi\"", "\"then\""))
            .unwrap();
    }),
    ("a directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("a directory with a file", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        fs::write(path.join("theirs"), "").unwrap();
    }),
];

/// Everything that an uninstall restores, except files.
fn machine_itself(machine: &Machine) -> Vec<(&'static str, String)> {
    let all = machine.snapshot().into_iter().filter(|(what, _)| *what != "files");
    // A machine that forwards has the anycast address of its network's routers.
    let steady = |text: String| {
        text.lines().filter(|line| !line.starts_with("anycast ")).collect::<Vec<_>>().join("\n")
    };
    all.map(|(what, text)| (what, steady(text))).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whatever_file_is_damaged_init_makes_the_node_again() {
    for (damage, spoil) in DAMAGES {
        let machine = Machine::clustered();
        machine.ok(&["init"]);
        let pod = Pod::new(&machine, "first", json!({}));
        let own = pod.add(&machine);
        for file in FILES.map(|file| (file, machine.path(file))).iter().filter(|(_, path)| path.exists()) {
            spoil(&file.1);
            machine.ok(&["init"]);
            let next = Pod::new(&machine, "next", json!({}));
            let given = next.add(&machine);
            assert_ne!(given, own, "{} {damage}", file.0);
            assert!(next.can_ping(&own[0]) && pod.can_ping("198.51.100.1"), "{} {damage}", file.0);
            next.del(&machine);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn whatever_is_damaged_or_lost_uninstall_takes_the_node_away() {
    for (damage, spoil) in DAMAGES {
        let machine = Machine::clustered();
        let before = machine_itself(&machine);
        machine.ok(&["init"]);
        let pod = Pod::new(&machine, "pod", json!({}));
        pod.add(&machine);
        let there = FILES.map(|file| machine.path(file)).into_iter().filter(|path| path.exists());
        // The copy of the journal is the way back: one of the two is whole.
        there.filter(|path| !path.ends_with("undo.json")).for_each(|path| spoil(&path));
        machine.ok(&["uninstall", "--force"]);
        assert_eq!(machine_itself(&machine), before, "{damage}");
        machine.ok(&["init"]);
        machine.ok(&["uninstall"]);
    }
}

/// Directories that are lost.
const LOST: [&[&str]; 3] = [&["state"], &["run/undo.json"], &["state", "run/undo.json"]];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_its_notes_a_node_is_named_and_goes_by_force_with_its_exceptions_and_mounts() {
    for lost in LOST {
        let machine = Machine::clustered();
        machine.tool("nft add table ip docker");
        let chain = "{ type filter hook forward priority 0; policy drop; }";
        machine::run(machine.command("nft").args([format!("add chain ip docker FORWARD {chain}")]));
        let before = machine_itself(&machine);
        machine.ok(&["init"]);
        let pod = Pod::new(&machine, "pod", json!({}));
        pod.add(&machine);
        for path in lost.iter().map(|path| machine.path(path)) {
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let told = machine.refused(&["uninstall"]);
        let is_named = told.contains("1 pod interfaces") && told.contains("the nftables table inet naru");
        assert!(is_named || !lost.contains(&"state"), "{lost:?}: {told}");
        let told = machine.ok(&["uninstall", "--force"]);
        let after = machine_itself(&machine);
        let has_no_notes = lost.len() == 2;
        for ((what, before), (_, after)) in before.iter().zip(&after) {
            assert!(
                before == after || (*what == "sysctls" && has_no_notes),
                "{lost:?}: {what}: {before} {after}"
            );
        }
        assert_eq!(told.contains("net.ipv4.conf.all.forwarding is 1"), has_no_notes, "{lost:?}: {told}");
        assert!(machine.ok(&["uninstall"]).contains("nothing to undo"), "{lost:?}");
        assert!(!machine.path("run").exists() && !machine.path("state").exists(), "{lost:?}");
    }
}
