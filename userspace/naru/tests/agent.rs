//! `naru agent` on a machine of its own: follows the cluster, repairs the node, and is not needed by it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, time::Duration};

use machine::{CLUSTER, Machine, NODE3, pod::Pod, wait};

/// Time within which a change must be in maps and routes.
const SECOND: Duration = Duration::from_secs(1);
/// Time that a test waits for things that must come at all, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn has_node3(machine: &Machine) -> bool {
    let entries = machine.entries();
    let is_there = |prefix: &str| entries.iter().any(|entry| entry.starts_with(prefix));
    let routes = machine.kernel_routes();
    let is_routed = |prefix: &str| routes.iter().any(|route| route.starts_with(prefix));
    [
        "10.32.2.0/24 tunnel",
        "fd10:32::2:0/112 tunnel",
        "198.51.100.3/32 remote-node",
        "2001:db8::3/128 remote-node",
    ]
    .into_iter()
    .all(is_there)
        && ["10.32.2.0/24 via", "fd10:32::2:0/112 via", "198.51.100.3 via", "2001:db8::3 via"]
            .into_iter()
            .all(is_routed)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_that_joins_is_in_maps_and_routes_within_a_second_and_leaves_no_trace_when_it_goes() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let before = (machine.entries(), machine.kernel_routes());
    // The fastest of five rounds: other work of the machine slows the others down.
    let rounds = (0..5).map(|_| {
        machine.write_cluster(&format!("{CLUSTER}{NODE3}"));
        let joined = wait("node3 in maps and routes", PATIENCE, || has_node3(&machine));
        machine.write_cluster(CLUSTER);
        let gone =
            wait("node3 to be gone", PATIENCE, || (machine.entries(), machine.kernel_routes()) == before);
        joined.max(gone)
    });
    let fastest = rounds.min().unwrap();
    assert!(fastest < SECOND, "{fastest:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_file_written_in_place_is_followed_too() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    fs::write(machine.path("config/cluster.toml"), format!("{CLUSTER}{NODE3}")).unwrap();
    wait("node3 in maps and routes", PATIENCE, || has_node3(&machine));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_invalid_file_is_named_with_line_and_key_and_the_old_state_stays() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let before = (machine.entries(), machine.kernel_routes());
    machine.write_cluster(&format!("{CLUSTER}{}", NODE3.replace("10.32.2.0/24", "10.32.1.0/24")));
    let complaint = "cluster.toml:17: node.blocks: 10.32.1.0/24 overlaps 10.32.1.0/24 of node node2";
    wait("the complaint", PATIENCE, || machine.agent_log().contains(complaint));
    assert_eq!((machine.entries(), machine.kernel_routes()), before);
    machine.write_cluster(&format!("{CLUSTER}{NODE3}"));
    wait("the good file to be followed", PATIENCE, || has_node3(&machine));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_that_starts_with_an_invalid_file_serves_the_cluster_accepted_last() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let before = machine.entries();
    machine.write_cluster("ranges = 7\n");
    let _agent = machine.agent();
    wait("the complaint", PATIENCE, || machine.agent_log().contains("cluster.toml:1: ranges: invalid type"));
    assert_eq!(machine.entries(), before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_remove_is_put_back() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let before = machine.kernel_routes();
    let is_restored = || machine.kernel_routes() == before;
    machine.ip("route del 10.32.1.0/24");
    wait("the route", PATIENCE, is_restored);
    machine.ip("rule del pref 5230 from 10.32.0.0/24");
    wait("the rule", PATIENCE, || machine.ip("rule show").contains("from 10.32.0.0/24 lookup 5230"));
    machine.ip("link del naru-vx");
    wait("the tunnel device and its routes", PATIENCE, is_restored);
    wait("the programs", PATIENCE, || !machine.ok(&["status"]).contains("naru-vx: "));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_do_to_the_firewall_is_put_right_within_a_second() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let table = || machine.outcome_of("nft -s list table inet naru");
    let whole = table();
    assert!(whole.contains("masquerade"));
    let mut fastest = Duration::MAX;
    for change in [
        "delete table inet naru".to_owned(),
        "flush chain inet naru forward".to_owned(),
        "add element inet naru direct_v4 { 203.0.113.0/24 }".to_owned(),
    ] {
        machine.tool(&format!("nft {change}"));
        fastest = fastest.min(wait(&change, PATIENCE, || table() == whole));
    }
    // Another's drop policy: pods get an exception at the head of its chain.
    machine.tool("nft add table ip docker");
    machine.tool("nft add chain ip docker FORWARD { type filter hook forward priority 0 ; policy drop ; }");
    let is_open = || machine.tool("nft list table ip docker").matches("comment \"naru\"").count() == 2;
    fastest = fastest.min(wait("the exception", PATIENCE, is_open));
    assert!(fastest < SECOND, "{fastest:?}");
    let passes = || machine.agent_log().matches("made anew").count();
    let before = passes();
    std::thread::sleep(SECOND);
    assert_eq!(passes(), before, "what it does itself does not wake it for ever");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_add_to_our_routes_is_removed() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let before = machine.kernel_routes();
    machine.ip("route add 10.33.0.0/24 via 169.254.1.1 dev naru-vx onlink proto 150");
    machine.ip("addr add 203.0.113.9/32 dev up0");
    wait("the foreign route to go", PATIENCE, || machine.kernel_routes() == before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_append_to_our_routes_is_removed_once() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let pod = Pod::new(&machine, "a", serde_json::json!({}));
    let addresses = pod.add(&machine);
    let before = machine.kernel_routes();
    let veth = before.iter().find(|route| route.starts_with(&addresses[0])).unwrap();
    let veth = veth.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap();
    for appended in [
        format!("route append {} dev {veth} proto 150", addresses[0]),
        format!("route append {} dev up0 proto 150", addresses[0]),
        format!("route prepend {} dev {veth} proto 150 mtu 1300", addresses[0]),
        format!("-6 route append {} dev up0 proto 150", addresses[1]),
        format!("-6 route add {} dev {veth} proto 150 metric 10", addresses[1]),
        format!("route add {} dev {veth} proto 150 metric 10", addresses[0]),
        "route append 10.32.1.0/24 via 169.254.1.1 dev naru-vx onlink proto 150".to_owned(),
    ] {
        machine.ip(&appended);
    }
    assert_eq!(machine.kernel_routes().len(), before.len() + 7);
    let _agent = machine.agent_every(1);
    // Those over another interface are the reconciler's, which takes its time.
    let beside_it = |route: &String| !route.contains("dev up0");
    let left = || machine.kernel_routes().into_iter().filter(beside_it).collect::<Vec<_>>();
    wait("our routes alone", PATIENCE, || left() == before);
    std::thread::sleep(3 * SECOND);
    let log = machine.agent_log();
    let mut settings: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("SetRoute")).map(|(_, what)| what).collect();
    settings.sort_unstable();
    assert!(settings.windows(2).all(|two| two[0] != two[1]), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_that_is_killed_leaves_everything() {
    let machine = Machine::clustered();
    let agent = machine.agent();
    wait("the first pass", PATIENCE, || !machine.entries().is_empty());
    let before = (machine.entries(), machine.kernel_routes(), machine.tool("nft list ruleset"));
    agent.kill();
    assert_eq!((machine.entries(), machine.kernel_routes(), machine.tool("nft list ruleset")), before);
    let agent = machine.agent();
    assert!(agent.terminate(), "SIGTERM ends the agent well");
    assert_eq!((machine.entries(), machine.kernel_routes(), machine.tool("nft list ruleset")), before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_that_starts_late_makes_good_what_it_missed() {
    let machine = Machine::clustered();
    machine.ok(&["init"]);
    let wanted = (machine.entries(), machine.kernel_routes());
    machine.write_cluster(&format!("{CLUSTER}{NODE3}"));
    machine.ok(&["init"]);
    machine.write_cluster(CLUSTER);
    machine.ip("route del 10.32.1.0/24");
    let _agent = machine.agent();
    wait("the state of the file", PATIENCE, || (machine.entries(), machine.kernel_routes()) == wanted);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_waits_for_a_cluster_file_that_comes_later() {
    let machine = Machine::new();
    let log = fs::File::create(machine.path("agent.log")).unwrap();
    let mut child = machine.naru(&["agent"]).stderr(log).spawn().unwrap();
    wait("the complaint", PATIENCE, || machine.agent_log().contains("no cluster was accepted yet"));
    machine.write_cluster(CLUSTER);
    wait("the node", PATIENCE, || machine.path("run/node.json").exists());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_agent_stays_below_twenty_megabytes() {
    let machine = Machine::clustered();
    let agent = machine.agent();
    machine.write_cluster(&format!("{CLUSTER}{NODE3}"));
    wait("node3", PATIENCE, || has_node3(&machine));
    let resident = agent.resident();
    assert!(resident < 20 << 20, "{resident} bytes");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_smaller_mtu_of_the_uplink_is_followed() {
    let machine = Machine::clustered();
    let _agent = machine.agent();
    machine.ip("link set up0 mtu 1400");
    wait("the smaller path mtu", PATIENCE, || {
        let has_mtu = |routes: &[String]| {
            routes.iter().any(|route| route.starts_with("10.32.1.0/24") && route.contains("mtu 1350"))
        };
        has_mtu(&machine.kernel_routes()) && machine.ok(&["routes"]).contains("198.51.100.2  1350")
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_thousand_nodes_are_followed() {
    use std::fmt::Write as _;
    let machine = Machine::clustered();
    let _agent = machine.agent();
    let mut text = CLUSTER.to_owned();
    for number in 3..1003 {
        let (high, low) = (number / 256, number % 256);
        let _ = write!(
            text,
            "[[node]]\nname = \"node{number}\"\naddresses = [\"198.51.{}.{low}\"]\nblocks = [\"10.{}.{low}.0/24\"]\n",
            110 + high,
            33 + high,
        );
    }
    machine.write_cluster(&text);
    let last = |routes: &str| routes.contains("10.36.234.0/24") && routes.contains("198.51.113.234");
    wait("the last node", PATIENCE, || {
        last(&machine.ok(&["routes"])) && last(&machine.kernel_routes().join(" "))
    });
    machine.write_cluster(CLUSTER);
    wait("a small cluster again", PATIENCE, || machine.entries().len() == 8);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn uninstall_refuses_while_the_agent_runs() {
    let machine = Machine::clustered();
    let agent = machine.agent();
    let error = machine.refused(&["uninstall", "--force"]);
    assert!(error.contains(&format!("naru agent is running (pid {})", agent.pid())), "{error}");
    assert!(machine.says(&["status"], "node1"), "nothing was touched");
    agent.kill();
    machine.ok(&["uninstall"]);
    assert!(!machine.path("run").exists());
}
