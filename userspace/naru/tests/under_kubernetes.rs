//! Faults found under Kubernetes: the list that `init` writes, lists of addresses, and leftovers of `uninstall`.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command, time::Duration};

use machine::{Machine, pod::Pod, run};
use serde_json::{Value, json};

const REFERENCE: &str = "/usr/lib/cni";

fn conflist(machine: &Machine) -> PathBuf {
    machine.path("cni/conf/05-naru.conflist")
}

fn list(machine: &Machine) -> Value {
    serde_json::from_str(&fs::read_to_string(conflist(machine)).unwrap()).unwrap()
}

fn install(machine: &Machine, plugins: &[&str]) {
    fs::create_dir_all(machine.path("cni/bin")).unwrap();
    for plugin in plugins {
        symlink(format!("{REFERENCE}/{plugin}"), machine.path("cni/bin").join(plugin)).unwrap();
    }
}

fn types(list: &Value) -> Vec<&str> {
    list["plugins"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_list_has_portmap_and_bandwidth_where_they_are_installed_and_init_says_where_not() {
    let machine = Machine::clustered();
    let said = machine.ok(&["init"]);
    assert!(said.contains("not installed: portmap, bandwidth"), "{said}");
    assert_eq!(
        (types(&list(&machine)), list(&machine)["cniVersion"].as_str()),
        (vec!["naru-cni"], Some("1.0.0"))
    );
    refuses_what_no_plugin_makes(&machine);
    install(&machine, &["portmap", "bandwidth"]);
    let said = machine.ok(&["init"]);
    assert!(!said.contains("not installed"), "{said}");
    let whole = list(&machine);
    assert_eq!(types(&whole), ["naru-cni", "portmap", "bandwidth"]);
    let capabilities: Vec<&Value> =
        whole["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["capabilities"]).collect();
    let (limited, mapped) = (json!({ "bandwidth": true }), json!({ "portMappings": true }));
    assert_eq!(capabilities, [&limited, &mapped, &limited]);
    let spoken: Value = serde_json::from_str(&run(Command::new(format!("{REFERENCE}/portmap"))
        .env("CNI_COMMAND", "VERSION")
        .stdin(fs::File::open("/dev/null").unwrap())))
    .unwrap();
    for version in whole["cniVersions"].as_array().unwrap() {
        assert!(
            spoken["supportedVersions"].as_array().unwrap().contains(version),
            "{version}: all must speak it"
        );
    }
    // After a reboot a plugin makes the node, which knows nothing of the runtime's directories.
    let pod = Pod::new(&machine, "a", json!({}));
    fs::remove_file(machine.path("run/node.json")).unwrap();
    let mut add = machine.command("/usr/bin/env");
    add.args(["-u", "NARU_CNI_BIN_DIR", "-u", "NARU_CNI_CONF_DIR", "true"]);
    run(&mut add);
    pod.add(&machine);
    assert_eq!(list(&machine), whole);
}

/// A pod that asks for what no plugin makes does not start, and its event says why; others start.
fn refuses_what_no_plugin_makes(machine: &Machine) {
    let own = list(machine)["plugins"][0].clone();
    assert_eq!(own["capabilities"], json!({ "bandwidth": true, "portMappings": true }));
    let ports = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    for (wanted, says) in [
        (json!({ "portMappings": ports }), "host port 8080"),
        (json!({ "bandwidth": { "ingressRate": 1_000_000, "ingressBurst": 1_000_000 } }), "a rate limit"),
    ] {
        let mut conf = own.clone();
        conf["runtimeConfig"] = wanted;
        let pod = Pod::new(machine, "wants", conf);
        let (code, said) = pod.add_as(machine, "wants").unwrap_err();
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(says) && said.contains("not in the runtime's directory"), "{said}");
    }
    let mut conf = own;
    conf["runtimeConfig"] = json!({ "portMappings": [], "bandwidth": {} });
    let pod = Pod::new(machine, "wants-nothing", conf);
    pod.add(machine);
    pod.del(machine);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_names_an_edited_list_and_removes_it_when_told_to() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let edited = fs::read_to_string(conflist(&machine)).unwrap().replace("1.0.0", "0.4.0");
    fs::write(conflist(&machine), &edited).unwrap();
    let own = machine.path("cni/conf/90-mine.conf");
    fs::write(&own, r#"{"cniVersion":"1.0.0","name":"mine","type":"naru-cni"}"#).unwrap();
    fs::write(machine.path("cni/conf/95-other.conf"), r#"{"name":"other","type":"bridge"}"#).unwrap();
    for _ in 0..2 {
        let (status, said) = machine.outcome(&["uninstall"]);
        assert_eq!((status, fs::read_to_string(conflist(&machine)).unwrap()), (0, edited.clone()));
        assert!(said.contains("05-naru.conflist stays") && said.contains("--remove-conflist"), "{said}");
        assert!(said.contains("90-mine.conf stays") && !said.contains("95-other"), "{said}");
    }
    let (status, said) = machine.outcome(&["uninstall", "--remove-conflist"]);
    assert_eq!((status, conflist(&machine).exists(), own.exists()), (0, false, true));
    assert!(!said.contains("05-naru.conflist stays"), "{said}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn lists_name_pods_also_after_the_run_directory_was_lost() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (a, b) = (Pod::new(&machine, "a", json!({})), Pod::new(&machine, "b", json!({})));
    a.add_as(&machine, "web-0").unwrap();
    b.add_as(&machine, "web-1").unwrap();
    let before = machine.ok(&["ipam", "list"]);
    assert!(before.contains("default/web-0") && before.contains("default/web-1"), "{before}");
    b.del(&machine);
    run(Command::new("umount").arg(machine.path("run/bpf")));
    fs::remove_dir_all(machine.path("run")).unwrap();
    machine.ok(&["init"]);
    for command in [&["ipam", "list"][..], &["endpoints"]] {
        let after = machine.ok(command);
        assert!(after.contains("default/web-0") && !after.contains("web-1"), "{command:?}: {after}");
    }
    let notes = fs::read_dir(machine.path("state/pods")).unwrap().count();
    assert_eq!(notes, 1, "DEL forgets");
    machine.ok(&["uninstall", "--force"]);
    assert!(!machine.path("state").exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_of_a_pool_that_the_pod_does_not_use_is_not_reserved_for_it() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    machine.ok(&["ipam", "pool", "add", "gold", "10.32.0.64/26", "--namespace", "shop"]);
    machine.ok(&["ipam", "pool", "add", "blue", "10.32.0.128/26"]);
    for (address, pod, more, says) in [
        ("10.32.0.70", "default/db-0", &[][..], "from their network's own: "),
        ("10.32.0.9", "shop/db-0", &[], "\"shop\" take their addresses from pool gold: "),
        ("10.32.0.130", "shop/db-0", &[], "from pool gold: "),
        ("10.32.0.130", "default/db-0", &[], "name --pool blue"),
        ("10.32.0.70", "shop/db-0", &["--pool", "blue"], "from pool blue: "),
    ] {
        let words = [&["ipam", "reserve", address, "--pod", pod][..], more].concat();
        let (status, said) = machine.outcome(&words);
        assert_eq!(status, 1, "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
        let shown = machine.ok(&["ipam", "list"]);
        assert!(!shown.contains("db-0"), "{shown}");
    }
    for words in [
        &["10.32.0.9", "--pod", "default/db-0"][..],
        &["10.32.0.70", "--pod", "shop/db-0"],
        &["10.32.0.130", "--pod", "shop/db-1", "--pool", "blue"],
        &["10.32.0.131"],
    ] {
        machine.ok(&[&["ipam", "reserve"][..], words].concat());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_clash_names_the_interface_and_proposes_nothing_where_ranges_are_fixed() {
    let machine = Machine::clustered();
    for line in ["link add cni0 type bridge", "link set cni0 up", "addr add 10.32.0.1/24 dev cni0"] {
        machine.ip(line);
    }
    let free = machine.refused(&["init"]);
    assert!(free.contains("(cni0)") && free.contains(" is free"), "{free}");
    let fixed = machine.refused(&["init", "--fixed-ranges"]);
    assert!(fixed.contains("(cni0)") && !fixed.contains(" is free"), "{fixed}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agent_says_nothing_of_pods_whose_add_is_under_way() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let agent = machine.agent_every(1);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let machine = &machine;
            scope.spawn(move || {
                for round in 0..12 {
                    let pod = Pod::new(machine, &format!("w{worker}-{round}"), json!({}));
                    pod.add(machine);
                    pod.del(machine);
                }
            });
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    let log = machine.agent_log();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("put right") || line.contains("programs attached again"))
        .collect();
    assert!(said.is_empty(), "{said:#?}");
    drop(agent);
}
