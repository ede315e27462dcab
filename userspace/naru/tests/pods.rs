//! Init, uninstall and the agent on a node with pods, which the plugin attaches without any of them.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, process::Command, time::Duration};

use machine::{Machine, pod::Pod, run, wait};
use serde_json::{Value, json};

/// A container that needs no keys.
fn pod(machine: &Machine, name: &str) -> Pod {
    Pod::new(machine, name, json!({}))
}

fn unmount(machine: &Machine) {
    run(Command::new("umount").arg(machine.path("run/bpf")));
}

/// `bpftool`'s view of `PODS` and ours, in the same form.
fn assert_maps_agree(machine: &Machine) {
    let ours: Value = serde_json::from_str(&machine.ok(&["endpoints", "--json"])).unwrap();
    let pin = machine.pins().join("PODS");
    let dump: Value =
        serde_json::from_str(&run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(pin)))
            .unwrap();
    let (ours, dump) = (ours.as_array().unwrap(), dump.as_array().unwrap());
    assert_eq!(ours.len(), dump.len());
    for entry in dump {
        let value = &entry["formatted"]["value"];
        let is_same =
            |own: &&Value| ["generation", "ifindex", "flags", "mtu"].iter().all(|key| own[key] == value[key]);
        assert!(ours.iter().any(|own| is_same(&own)), "{value} is not in {ours:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_refuses_while_pods_run_and_detaches_them_when_forced() {
    let machine = Machine::clustered();
    let before = machine.snapshot();
    machine.ok(&["init"]);
    let pod = pod(&machine, "a");
    pod.add(&machine);
    let error = machine.refused(&["uninstall"]);
    assert!(error.contains("1 pods are attached, naru/"), "{error}");
    assert_eq!(machine.ok(&["endpoints"]).lines().count(), 3, "nothing was touched");
    machine.ok(&["uninstall", "--force"]);
    for ((what, before), (_, after)) in before.iter().zip(machine.snapshot()) {
        assert_eq!(*before, after, "{what}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn after_its_bpffs_went_away_the_next_add_makes_it_anew_and_running_pods_go_on() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (a, b) = (pod(&machine, "a"), pod(&machine, "b"));
    let address = &a.add(&machine)[0];
    unmount(&machine);
    b.add(&machine);
    assert!(b.can_ping(address), "the new pod reaches the old one");
    assert_eq!(machine.ok(&["endpoints"]).lines().count(), 5, "both pods, both families");
    assert_maps_agree(&machine);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn after_the_run_directory_was_wiped_no_address_is_given_out_twice() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let (a, b) = (pod(&machine, "a"), pod(&machine, "b"));
    let first = &a.add(&machine)[0];
    unmount(&machine);
    fs::remove_dir_all(machine.path("run")).unwrap();
    let second = &b.add(&machine)[0];
    assert_ne!(first, second);
    assert!(b.can_ping(first));
    let list = machine.ok(&["ipam", "list"]);
    assert_eq!(list.matches("ASSIGNED").count(), 4, "{list}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn after_a_reboot_the_first_adds_make_the_node_all_at_once() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    unmount(&machine);
    fs::remove_dir_all(machine.path("run")).unwrap();
    machine.ip("link del naru-vx");
    machine.tool("nft delete table inet naru");
    let pods: Vec<Pod> =
        (0..8).map(|number| pod(&machine, &number.to_string()).of_boot("the-next-boot")).collect();
    let addresses: Vec<String> = std::thread::scope(|scope| {
        let machine = &machine;
        let adds: Vec<_> = pods.iter().map(|pod| scope.spawn(|| pod.add(machine).remove(0))).collect();
        adds.into_iter().map(|add| add.join().unwrap()).collect()
    });
    assert_eq!(addresses.iter().collect::<std::collections::BTreeSet<_>>().len(), pods.len());
    assert!(pods[0].can_ping(&addresses[1]) && pods[1].can_ping(&addresses[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_commands_show_the_pod() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pod = pod(&machine, "a");
    let address = &pod.add(&machine)[0];
    let name = pod.title();
    let list = machine.ok(&["ipam", "list"]);
    let line = list.lines().find(|line| line.starts_with(address)).unwrap();
    assert!(line.contains("ASSIGNED") && line.ends_with(&name), "{line}");
    let endpoints: Value = serde_json::from_str(&machine.ok(&["endpoints", "--json"])).unwrap();
    assert_eq!(endpoints[0]["address"], address.as_str());
    assert_eq!(endpoints[0]["pod"], name.as_str());
    assert_maps_agree(&machine);
    assert!(pod.can_ping("198.51.100.1"), "the pod reaches its node");
    let stats: Value = serde_json::from_str(&machine.ok(&["stats", "--json"])).unwrap();
    assert_eq!(stats["pods"][0]["pod"], name.as_str());
    assert_ne!(stats["pods"][0]["tx"]["packets"], 0);
    let hooks = stats["hooks"].as_array().unwrap();
    assert!(hooks.iter().any(|row| row["hook"] == "from_pod" && row["outcome"] == "local-node"), "{hooks:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agent_puts_back_what_a_pod_lost() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pod = pod(&machine, "a");
    let address = &pod.add(&machine)[0];
    let before = machine.kernel_routes();
    machine.ip(&format!("route del {address}"));
    let _agent = machine.agent();
    wait("the pod's route", Duration::from_secs(60), || machine.kernel_routes() == before);
    unmount(&machine);
    machine.ip("link del naru-vx");
    wait("the maps", Duration::from_secs(60), || machine.says(&["status"], "1 interfaces, 2 addresses"));
    assert!(pod.can_ping("198.51.100.1"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_that_comes_and_goes_beside_the_agent_is_none_of_its_business() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    for _ in 0..5 {
        let pod = pod(&machine, "a");
        pod.add(&machine);
        assert!(pod.can_ping("198.51.100.1"));
        pod.del(&machine);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(!machine.agent_log().contains("ERROR"), "{}", machine.agent_log());
    assert_eq!(machine.ok(&["endpoints"]).lines().count(), 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agent_makes_a_wiped_run_directory_anew_with_its_pods() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let pod = pod(&machine, "a");
    let address = &pod.add(&machine)[0];
    unmount(&machine);
    fs::remove_dir_all(machine.path("run")).unwrap();
    machine.ip("link set up0 mtu 1400");
    wait("the node", Duration::from_secs(60), || machine.says(&["status"], "1 interfaces, 2 addresses"));
    assert!(machine.says(&["ipam", "list"], address));
    let error = machine.refused(&["uninstall", "--force"]);
    assert!(error.contains("naru agent is running"), "{error}");
}
