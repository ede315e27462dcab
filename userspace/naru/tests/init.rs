//! `naru init` and `naru uninstall` on a machine of their own.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use machine::{CLUSTER, Machine, run, wait};

/// Compares two snapshots; the error names the differences.
fn assert_same(before: &[(&str, String)], after: &[(&str, String)]) {
    for ((what, before), (_, after)) in before.iter().zip(after) {
        let gone = before.lines().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
        let come = after.lines().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
        let differences: Vec<String> = gone.chain(come).collect();
        assert!(before == after, "{what} differ:\n{}", differences.join("\n"));
    }
}

fn without_times(snapshot: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    // The stores' files are binary and note when they were written.
    snapshot.into_iter().filter(|(what, _)| *what != "files").collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn init_makes_a_node_that_status_finds_no_fault_with() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let status: serde_json::Value = serde_json::from_str(&machine.ok(&["status", "--json"])).unwrap();
    assert_eq!(status["initialised"], true);
    assert_eq!(status["node"], "node1");
    assert_eq!(status["pod_mtu"], 1450);
    let warnings: Vec<&str> =
        status["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].ends_with("cni/bin/naru-cni: not there"), "{warnings:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_names_what_others_took_away() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let taken = [
        ("nft delete table inet naru", "table inet naru is gone"),
        ("ip address del 2001:db8::1/64 dev up0", "2001:db8::1: not an address of this machine"),
        ("ip link del naru-vx", "naru-vx: the tunnel device is gone"),
    ];
    for (command, warning) in taken {
        assert!(!machine.ok(&["status"]).contains(warning), "{warning}");
        machine.tool(command);
        assert!(machine.ok(&["status"]).contains(warning), "{warning}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_init_changes_nothing() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let before = without_times(machine.snapshot());
    let output = machine.ok(&["init"]);
    assert!(output.contains("0 maps created, 0 programs loaded, 0 entries and routes changed"), "{output}");
    assert_same(&before, &without_times(machine.snapshot()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_restores_links_routes_rules_nftables_sysctls_mounts_and_files() {
    let machine = Machine::clustered();
    machine.tool("nft add table inet others");
    machine.tool("nft add chain inet others forward { type filter hook forward priority 0 ; policy drop ; }");
    fs::write(machine.path("cni/conf/10-other.conf"), "{}").unwrap();
    let before = machine.snapshot();
    machine.ok(&["init"]);
    assert!(machine.path("cni/conf/05-naru.conflist").exists());
    assert!(machine.tool("nft list table inet others").contains("naru"), "the drop needs an exception");
    machine.ok(&["uninstall"]);
    assert_same(&before, &machine.snapshot());
    assert!(machine.ok(&["uninstall"]).contains("nothing to undo"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_after_a_reboot_restores_what_was_before_the_first_init() {
    let machine = Machine::clustered();
    let before = machine.snapshot();
    machine.ok(&["init"]);
    run(Command::new("umount").arg(machine.path("run/bpf")));
    fs::remove_dir_all(machine.path("run")).unwrap();
    run(machine.naru(&["init"]).env("NARU_BOOT_ID", "the-next-boot"));
    run(machine.naru(&["uninstall"]).env("NARU_BOOT_ID", "the-next-boot"));
    assert_same(&before, &machine.snapshot());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_damaged_node_store_is_replaced_and_everybody_says_so_until_the_copy_is_removed() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    assert!(!machine.says(&["status"], "was damaged"));
    fs::write(machine.path("state/node.db"), "this is no database").unwrap();
    let output = machine.naru(&["init"]).output().unwrap();
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{warning}");
    assert!(
        warning.contains("node.db.damaged-") && warning.contains("uninstall cannot restore"),
        "{warning}"
    );
    assert!(machine.says(&["status"], "was damaged and replaced: the node has a new uid"));
    let agent = machine.agent();
    wait("the warning", Duration::from_secs(60), || machine.agent_log().contains("was damaged and replaced"));
    drop(agent);
    let copy = warning.strip_prefix("warning: ").unwrap().split(": ").next().unwrap();
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{copy}{suffix}"));
    }
    assert!(!machine.says(&["status"], "was damaged"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn init_without_the_cluster_file_goes_on_with_the_cluster_accepted_last() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let entries = machine.entries();
    fs::remove_file(machine.path("config/cluster.toml")).unwrap();
    run(Command::new("umount").arg(machine.path("run/bpf")));
    fs::remove_dir_all(machine.path("run")).unwrap();
    run(machine.naru(&["init"]).env("NARU_BOOT_ID", "the-next-boot"));
    assert_eq!(machine.entries(), entries);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_range_that_overlaps_is_refused_with_a_free_one_and_leaves_no_trace() {
    let machine = Machine::clustered();
    machine.ip("addr add 10.40.1.1/24 dev up0");
    let before = machine.snapshot();
    let error = machine.refused(&["init"]);
    assert!(
        error.contains("pod range 10.32.0.0/12 overlaps 10.40.1.1/32, an address of this machine"),
        "{error}"
    );
    assert!(error.contains("10.0.0.0/12 is free"), "{error}");
    assert_same(&before, &machine.snapshot());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_overlap_that_comes_later_is_a_warning_of_the_running_node() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    machine.ip("route add 10.40.0.0/16 dev up0");
    machine.ok(&["init"]);
    let status = machine.ok(&["status"]);
    assert!(
        status.contains("pod range 10.32.0.0/12 overlaps 10.40.0.0/16, a route of this machine"),
        "{status}"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_subnet_alone_makes_a_single_machine() {
    let machine = Machine::new();
    machine.ok(&["init", "--subnet", "10.22.0.0/16", "--subnet", "fd22::/64"]);
    assert_eq!(
        machine.entries(),
        [
            "10.22.0.0/16 local-block",
            "198.51.100.1/32 local-node",
            "2001:db8::1/128 local-node",
            "fd22::/64 local-block"
        ]
    );
    assert!(!machine.ip("-o link show").contains("naru-vx"), "a single machine has no tunnel");
    assert!(fs::read_to_string(machine.path("cni/conf/05-naru.conflist")).unwrap().contains("10.22.0.0/16"));
    assert!(machine.ok(&["ipam", "list"]).contains("10.22.0.0-10.22.255.255"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_network_configuration_of_somebody_else_under_our_name_survives_init_and_uninstall() {
    let machine = Machine::clustered();
    fs::write(machine.path("cni/conf/05-naru.conflist"), "{\"mine\": true}").unwrap();
    let before = machine.snapshot();
    machine.ok(&["init"]);
    machine.ok(&["uninstall"]);
    assert_same(&before, &machine.snapshot());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_machine_without_cluster_and_subnet_is_told_what_is_missing() {
    let machine = Machine::new();
    let error = machine.refused(&["init"]);
    assert!(error.contains("no cluster was accepted yet"), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_that_the_cluster_does_not_name_or_that_is_another_machine_is_refused() {
    let machine = Machine::clustered();
    let error = machine.refused(&["init", "--node", "nobody"]);
    assert!(error.contains("the cluster has no node nobody; it has node1, node2"), "{error}");
    let error = machine.refused(&["init", "--node", "node2"]);
    assert!(error.contains("node node2: none of its addresses is on this machine"), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_invalid_cluster_file_is_refused_with_line_and_key() {
    let machine = Machine::new();
    machine.write_cluster(&CLUSTER.replace("10.32.0.0/24", "10.32.0.0/33"));
    let error = machine.refused(&["init"]);
    assert!(error.contains("cluster.toml:7: node.blocks: `10.32.0.0/33` is not a network"), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn each_attach_mode_can_be_forced_and_changed() {
    let machine = Machine::clustered();
    for mode in ["clsact", "tcx", "auto", "clsact"] {
        machine.ok(&["init", "--attach", mode]);
        let status: serde_json::Value = serde_json::from_str(&machine.ok(&["status", "--json"])).unwrap();
        let expected = if mode == "auto" { "tcx" } else { mode };
        assert_eq!(status["attach"], expected, "forced {mode}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_init_killed_at_any_moment_is_completed_by_the_next_and_undone_by_uninstall() {
    let machine = Machine::clustered();
    let before = machine.snapshot();
    for round in 0..12 {
        let mut init = machine.naru(&["init"]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 * round));
        init.kill().unwrap();
        init.wait().unwrap();
        if round % 2 == 0 {
            machine.ok(&["init"]);
            assert_eq!(machine.entries().len(), 8, "round {round}");
        }
        let mut uninstall = machine.naru(&["uninstall"]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(10 * round));
        uninstall.kill().unwrap();
        uninstall.wait().unwrap();
        machine.ok(&["uninstall"]);
        assert_same(&before, &machine.snapshot());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_machine_whose_only_pool_has_drained_is_a_node_still() {
    let machine = Machine::new();
    machine.ok(&["ipam", "pool", "add", "blue", "10.60.0.0/24"]);
    machine.ok(&["ipam", "pool", "drain", "blue"]);
    // The second forgets the pool, the third finds none.
    for _ in 0..3 {
        machine.ok(&["init"]);
    }
    assert!(!machine.ok(&["ipam", "pool", "show"]).contains("blue"));
    let agent = machine.agent();
    machine.ok(&["ipam", "pool", "add", "red", "10.61.0.0/24"]);
    assert!(machine.ok(&["ipam", "pool", "show"]).contains("10.61.0.0/24"));
    assert!(agent.terminate());
    machine.ok(&["uninstall"]);
}
