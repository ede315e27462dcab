//! `naru uninstall` where other IPAM plugins have given addresses.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use machine::{Machine, pod::Pod};
use serde_json::json;

/// The addresses that host-local holds for the network.
fn leases(directory: &Path) -> usize {
    let files = fs::read_dir(directory.join("naru")).into_iter().flatten().flatten();
    files.filter(|file| file.file_name().to_string_lossy().starts_with("10.88.")).count()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_by_force_gives_the_leases_of_other_ipams_back() {
    let (machine, data) = (Machine::clustered(), tempfile::tempdir().unwrap());
    machine.ok(&["init"]);
    let ipam = json!({ "type": "host-local", "dataDir": data.path(), "subnet": "10.88.0.0/24" });
    let pods = ["one", "two"].map(|name| Pod::new(&machine, name, json!({ "ipam": ipam })));
    pods.iter().for_each(|pod| drop(pod.add(&machine)));
    assert_eq!(leases(data.path()), 2);
    machine.refused(&["uninstall"]);
    assert_eq!(leases(data.path()), 2, "a refusal changes nothing");
    machine.ok(&["uninstall", "--force"]);
    assert_eq!(leases(data.path()), 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_that_nobody_takes_back_keeps_the_node_until_force_gives_it_up_by_name() {
    let (machine, bin) = (Machine::clustered(), tempfile::tempdir().unwrap());
    machine.ok(&["init"]);
    let plugin = bin.path().join("lost-ipam");
    let answer = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.66.0.9/24"}]}"#;
    fs::write(&plugin, format!("#!/bin/sh\ncat > /dev/null\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let pod = Pod::new(&machine, "pod", json!({ "ipam": { "type": "lost-ipam" } })).with_plugins(bin.path());
    pod.add(&machine);
    drop(bin);
    assert!(!pod.call_as(&machine, "DEL", "pod").status.success(), "its lease stays noted");
    let told = machine.refused(&["uninstall"]);
    assert!(told.contains("lease of lost-ipam: not found"), "{told}");
    let told = machine.ok(&["uninstall", "--force"]);
    assert!(told.contains("not given back: ") && told.contains("lease of lost-ipam"), "{told}");
    assert!(machine.ok(&["uninstall"]).contains("nothing to undo"));
}
