//! The devices that carry the underlay: programs on them, and what follows from their addresses, MTU and routes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod machine;

use std::{fs, process::Command, time::Duration};

use machine::{CLUSTER, Machine, pod::Pod, run, wait};
use serde_json::{Value, json};

/// Time within which a change of an uplink must be followed.
const SECOND: Duration = Duration::from_secs(1);
/// Time that a test waits for things that must come at all, also on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// [`CLUSTER`] with the way to other nodes left to the node.
fn automatic() -> Machine {
    let machine = Machine::new();
    machine.write_cluster(&CLUSTER.replace("routing = \"tunnel\"\n", ""));
    machine
}

fn status(machine: &Machine) -> Value {
    machine.json(&["status"]).1
}

fn uplinks(machine: &Machine) -> Vec<String> {
    let names = status(machine)["uplinks"].as_array().unwrap().clone();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The number of naru's programs on the device, ingress and egress.
fn ours(machine: &Machine, device: &str) -> Vec<u64> {
    let programs = status(machine)["programs"].as_array().unwrap().clone();
    let of_device = programs.iter().filter(|chain| chain["interface"] == device);
    of_device.map(|chain| chain["ours"].as_u64().unwrap()).collect()
}

/// The words of the entry for the prefix, as `naru routes` prints it.
fn entry(machine: &Machine, prefix: &str) -> String {
    let routes = machine.ok(&["routes"]);
    let line = routes.lines().find(|line| line.starts_with(prefix)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fastest of a few rounds of `change`, undone by `undo`: other work of the machine slows the others down.
fn followed(what: &str, mut round: impl FnMut() -> Duration) {
    let fastest = (0..4).map(|_| round()).min().unwrap();
    assert!(fastest < SECOND, "{what}: {fastest:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_are_on_the_uplink_in_either_mode_and_leave_no_trace() {
    for mode in ["tcx", "clsact"] {
        let machine = automatic();
        let before = machine.snapshot();
        machine.ok(&["init", "--attach", mode]);
        assert_eq!(uplinks(&machine), ["up0"], "{mode}");
        assert_eq!((ours(&machine, "up0"), ours(&machine, "naru-vx")), (vec![1, 1], vec![1, 1]), "{mode}");
        let shown = machine.tool("tc filter show dev up0 ingress");
        assert_eq!(shown.contains("from_underlay"), mode == "clsact", "{shown}");
        machine.ok(&["init"]);
        assert_eq!(ours(&machine, "up0"), [1, 1], "{mode}, again");
        machine.ok(&["uninstall"]);
        for ((what, before), (_, after)) in before.iter().zip(machine.snapshot()) {
            assert_eq!(*before, after, "{what} differ after {mode}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_is_on_the_uplink_where_the_tunnel_device_does_everything() {
    let machine = automatic();
    machine.ok(&["init"]);
    assert_eq!(ours(&machine, "up0"), [1, 1]);
    machine.write_cluster(&format!("encapsulation = \"device\"\n{CLUSTER}"));
    machine.ok(&["init"]);
    assert!(uplinks(&machine).is_empty() && ours(&machine, "up0").is_empty());
    assert_eq!(fs::read_dir(machine.pins().join("links")).unwrap().count(), 2, "the tunnel device's");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_is_at_egress_of_an_uplink_by_which_pods_reach_other_nodes_in_the_tunnel_only() {
    for mode in ["tcx", "clsact"] {
        let machine = Machine::clustered();
        machine.ok(&["init", "--attach", mode]);
        assert_eq!(ours(&machine, "up0"), [1, 0], "{mode}");
        let warnings = &status(&machine)["warnings"];
        assert!(!warnings.to_string().contains("up0"), "{mode}: {warnings}");
        let _agent = machine.agent();
        let choose = |routing: &str, programs: [u64; 2]| {
            machine.write_cluster(&CLUSTER.replace("tunnel", routing));
            wait(routing, PATIENCE, || ours(&machine, "up0") == programs);
        };
        choose("auto", [1, 1]);
        choose("tunnel", [1, 0]);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_is_at_egress_of_an_uplink_as_soon_as_another_ipam_gives_addresses() {
    let machine = Machine::clustered();
    machine.ok(&["init", "--attach", "tcx"]);
    assert_eq!(ours(&machine, "up0"), [1, 0]);
    let ipam =
        json!({"ipam": {"type": "host-local", "subnet": "10.70.0.0/24", "dataDir": machine.path("leases")}});
    Pod::new(&machine, "a", ipam).add(&machine);
    assert_eq!(ours(&machine, "up0"), [1, 1]);
    let _agent = machine.agent();
    followed("the program", || {
        let index = machine.ip("-o link show up0").split(':').next().unwrap().to_owned();
        let pin = machine.pins().join(format!("links/to_underlay_{index}"));
        run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(&pin));
        wait("the program", PATIENCE, || ours(&machine, "up0") == [1, 1])
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_that_somebody_takes_off_are_back_within_a_second() {
    for mode in ["tcx", "clsact"] {
        let machine = automatic();
        machine.ok(&["init", "--attach", mode]);
        let _agent = machine.agent();
        for device in ["up0", "naru-vx"] {
            let side = if device == "up0" { "underlay" } else { "overlay" };
            let index = machine.ip(&format!("-o link show {device}")).split(':').next().unwrap().to_owned();
            let pin = machine.pins().join(format!("links/from_{side}_{index}"));
            followed(&format!("{device} by {mode}"), || {
                match mode {
                    "tcx" => drop(run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(&pin))),
                    _ => drop(machine.tool(&format!("tc qdisc del dev {device} clsact"))),
                }
                wait("the programs", PATIENCE, || ours(&machine, device) == [1, 1])
            });
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pin_that_somebody_removes_is_back_within_a_second() {
    let machine = automatic();
    machine.ok(&["init", "--attach", "tcx"]);
    let _agent = machine.agent();
    followed("the pins", || {
        for pin in fs::read_dir(machine.pins().join("links")).unwrap() {
            fs::remove_file(pin.unwrap().path()).unwrap();
        }
        let all = || [ours(&machine, "up0"), ours(&machine, "naru-vx")].concat();
        let pins = || fs::read_dir(machine.pins().join("links")).unwrap().count();
        wait("the programs", PATIENCE, || pins() == 4 && all() == [1, 1, 1, 1])
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn status_names_foreign_programs_and_what_they_see() {
    let machine = automatic();
    machine.ok(&["init", "--attach", "clsact"]);
    for priority in ["7", "50000"] {
        let mut filter = machine.command("tc");
        filter.args(["filter", "add", "dev", "up0", "ingress", "prio", priority]);
        run(filter.args(["protocol", "all", "bpf", "bytecode", "1,6 0 0 0"]));
    }
    let text = machine.ok(&["status"]);
    assert!(text.contains("up0 ingress: before ours: bpf priority 7"), "{text}");
    let after = "up0 ingress: after ours: bpf priority 50000; sees only what ours pass on to the stack";
    assert!(text.contains(after), "{text}");
    machine.ok(&["init"]);
    machine.ok(&["uninstall"]);
    let left = machine.tool("tc filter show dev up0 ingress");
    assert!(left.contains("pref 7 ") && left.contains("pref 50000 ") && !left.contains("naru"), "{left}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_change_of_the_uplinks_mtu_is_in_map_and_routes_within_a_second() {
    let machine = automatic();
    let _agent = machine.agent();
    followed("the mtu", || {
        let mut slowest = Duration::ZERO;
        for mtu in [1400, 1500] {
            machine.ip(&format!("link set up0 mtu {mtu}"));
            let entry =
                || entry(&machine, "10.32.1.0/24").contains(&format!("198.51.100.2 {} via", mtu - 50));
            let is_routed = |route: &String| {
                route.starts_with("10.32.1.0/24 via 198.51.100.2 dev up0")
                    && route.contains(&format!("mtu {}", mtu - 50))
            };
            let all = || entry() && machine.kernel_routes().iter().any(is_routed);
            slowest = slowest.max(wait("the mtu", PATIENCE, all));
        }
        slowest
    });
    assert_eq!(status(&machine)["pod_mtu"], 1450);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_route_with_an_mtu_of_its_own_counts_for_its_destination() {
    let machine = automatic();
    let _agent = machine.agent();
    machine.ip("route add 198.51.100.2/32 dev up0 mtu 1300");
    wait("the route's mtu", PATIENCE, || entry(&machine, "10.32.1.0/24").contains("198.51.100.2 1250"));
    wait("the least that IPv6 needs, for new pods", PATIENCE, || status(&machine)["pod_mtu"] == 1280);
    // Below 1280 the kernel would take IPv6 off the device.
    let device = machine.ip("link show naru-vx");
    assert!(device.contains("mtu 1280 "), "{device}");
    assert_eq!(machine.tool("sysctl -n net.ipv6.conf.naru-vx.disable_ipv6").trim(), "0");
    assert!(!machine.agent_log().contains("ERROR"), "{}", machine.agent_log());
    machine.ip("route del 198.51.100.2/32 dev up0");
    wait("the device's mtu", PATIENCE, || entry(&machine, "10.32.1.0/24").contains("198.51.100.2 1450"));
}

/// `up1`, with 203.0.113.1/24 and MTU 1450.
fn add_second_uplink(machine: &Machine) {
    for line in [
        "link add up1 type veth peer name far1",
        "link set up1 addrgenmode none",
        "link set far1 addrgenmode none",
        "link set far1 up",
        "addr add 203.0.113.1/24 dev up1",
        "link set up1 up mtu 1450",
    ] {
        machine.ip(line);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn another_way_to_a_node_moves_programs_and_routes_within_a_second() {
    let machine = automatic();
    add_second_uplink(&machine);
    let _agent = machine.agent();
    assert_eq!(uplinks(&machine), ["up0"]);
    followed("a second uplink", || {
        machine.ip("route add 198.51.100.2/32 via 203.0.113.2 dev up1");
        let joined = wait("the second uplink", PATIENCE, || {
            // The node's other address is reached as before.
            uplinks(&machine) == ["up0", "up1"] && ours(&machine, "up1") == [1, 1]
        });
        let entry = entry(&machine, "10.32.1.0/24");
        assert!(entry.contains("tunnel 198.51.100.2 1400"), "behind a router: {entry}");
        machine.ip("route del 198.51.100.2/32");
        let gone = wait("one uplink", PATIENCE, || uplinks(&machine) == ["up0"]);
        joined.max(gone)
    });
    let left = machine.tool("bpftool net show dev up1");
    assert!(!left.contains("underlay"), "{left}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_hop_of_a_route_is_an_uplink_and_the_smallest_mtu_counts() {
    let machine = automatic();
    add_second_uplink(&machine);
    machine.ip("addr add 2001:db8:1::1/64 dev up1 nodad");
    let _agent = machine.agent();
    let ways = [
        ("198.51.100.2/32", "nexthop via 198.51.100.254 nexthop via 203.0.113.2"),
        ("2001:db8::2/128", "nexthop via 2001:db8::fe nexthop via 2001:db8:1::2"),
    ];
    for (node, hops) in ways {
        assert_eq!(uplinks(&machine), ["up0"]);
        followed(&format!("the hops to {node}"), || {
            machine.ip(&format!("route add {node} {hops}"));
            let joined = wait("the second hop", PATIENCE, || {
                uplinks(&machine) == ["up0", "up1"] && ours(&machine, "up1") == [1, 1]
            });
            if node == ways[0].0 {
                let entry = entry(&machine, "10.32.1.0/24");
                assert!(entry.contains("tunnel 198.51.100.2 1400"), "the smallest: {entry}");
            }
            machine.ip(&format!("route del {node}"));
            joined.max(wait("one uplink", PATIENCE, || uplinks(&machine) == ["up0"]))
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_uplink_that_goes_down_and_up_again_is_followed() {
    let machine = automatic();
    let _agent = machine.agent();
    machine.ip("link set up0 down");
    wait("the node to be unreachable", PATIENCE, || {
        machine.says(&["status"], "node node2: no route to its first address")
    });
    machine.ip("link set up0 up");
    machine.ip("addr replace 2001:db8::1/64 dev up0 nodad");
    wait("the direct way", PATIENCE, || {
        entry(&machine, "10.32.1.0/24").contains("direct 198.51.100.2 1450")
            && ours(&machine, "up0") == [1, 1]
    });
}

/// `node_v4` and `node_v6` of the programs' configuration.
fn sources(machine: &Machine) -> [Vec<u8>; 2] {
    let mut dump = Command::new("bpftool");
    dump.args(["-j", "map", "dump", "pinned"]).arg(machine.pins().join("CONFIG"));
    let entries: Value = serde_json::from_str(&run(&mut dump)).unwrap();
    let value = &entries[0]["formatted"]["value"];
    let current = usize::try_from(value["current"].as_u64().unwrap()).unwrap() % naru_abi::CONFIG_SLOTS;
    let octets = |name: &str| {
        let list = value["slots"][current][name]["octets"].as_array().unwrap().clone();
        list.iter().map(|octet| u8::try_from(octet.as_u64().unwrap()).unwrap()).collect()
    };
    [octets("node_v4"), octets("node_v6")]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_programs_know_the_nodes_addresses_as_long_as_the_machine_has_them() {
    let machine = automatic();
    let _agent = machine.agent();
    let [v4, v6] = sources(&machine);
    assert_eq!((&v4[12..], &v6[..4]), (&[198, 51, 100, 1][..], &[0x20, 0x01, 0x0d, 0xb8][..]));
    machine.ip("addr add 198.51.100.9/24 dev up0");
    machine.ip("addr del 198.51.100.1/24 dev up0");
    wait("the address to go", PATIENCE, || sources(&machine)[0] == [0; 16]);
    machine.ip("addr add 198.51.100.1/24 dev up0");
    wait("the address to come back", PATIENCE, || sources(&machine)[0] == v4);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_strict_reverse_path_filter_is_loosened_where_answers_go_another_way_and_restored() {
    let filter = |machine: &Machine| machine.tool("sysctl -n net.ipv4.conf.up0.rp_filter").trim().to_owned();
    let machine = Machine::new();
    machine.tool("sysctl -qw net.ipv4.conf.up0.rp_filter=1");
    machine.write_cluster(CLUSTER);
    machine.ok(&["init"]);
    assert_eq!(filter(&machine), "1", "everybody uses the tunnel");
    machine.write_cluster(&CLUSTER.replace("name = \"node2\"", "name = \"node2\"\nrouting = \"auto\""));
    machine.ok(&["init"]);
    assert_eq!(filter(&machine), "2", "node2 sends what is answered through the tunnel");
    machine.ok(&["uninstall"]);
    assert_eq!(filter(&machine), "1");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_taken_port_is_refused_by_its_holders_name_where_the_cluster_allows_no_other() {
    let machine = Machine::new();
    machine.write_cluster(&format!("{CLUSTER}\n[tunnel]\nfallback_ports = []\n"));
    machine.ip("link add theirs type vxlan id 1 dstport 8472 nolearning local 198.51.100.1");
    machine.ip("link set theirs up");
    let error = machine.refused(&["init"]);
    assert!(error.contains("naru-vx: udp port 8472 is taken by device theirs"), "{error}");
    machine.write_cluster(&format!("{CLUSTER}\n[tunnel]\nfallback_ports = [9000, 9001]\n"));
    machine.ip("link add other type vxlan external dstport 9000");
    machine.ip("link set other up");
    machine.ok(&["init"]);
    let status = status(&machine);
    assert_eq!((&status["tunnel_port"], &status["device_port"]), (&8472.into(), &9001.into()));
    let text = machine.ok(&["status"]);
    assert!(text.contains("port 8472 is taken on this machine: the device has 9001"), "{text}");
}
