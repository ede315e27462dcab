//! Kind 6: a covering route taken for ownership. A route that only leads to addresses owns none of them.

use serde_json::json;

use crate::{
    machine::Machine,
    scene::{Scene, network},
};

/// Routes that cover a pod range and leave it free.
const COVERING: [&[&str]; 8] = [
    &["route add 0.0.0.0/1 via 198.51.100.254", "route add 128.0.0.0/1 via 198.51.100.254"],
    &["-6 route add ::/1 via 2001:db8::fe", "-6 route add 8000::/1 via 2001:db8::fe"],
    &["-6 route add 2000::/3 via 2001:db8::fe", "-6 route add fc00::/7 via 2001:db8::fe"],
    &["route add 10.0.0.0/8 via 198.51.100.254"],
    &["route add blackhole 10.0.0.0/8"],
    &["route add unreachable 10.0.0.0/8", "-6 route add unreachable fd00::/8"],
    &["route add 10.22.0.0/15 nexthop via 198.51.100.254 nexthop via 198.51.100.253"],
    &["-6 route add blackhole fd00::/8", "route add prohibit 10.22.0.0/16"],
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_route_that_covers_a_pod_range_keeps_no_pod_from_starting() {
    for routes in COVERING {
        let scene = Scene::new();
        for route in routes {
            scene.machine.ip(route);
        }
        let (pods, conf) = (["a", "b"].map(|name| scene.pod(name)), network("net", 22));
        let first = scene.add(&pods[0], &conf);
        scene.add(&pods[1], &conf);
        for address in first {
            assert!(pods[1].can_ping(&address) && scene.machine_can_ping(&address), "{routes:?}: {address}");
        }
        assert!(!scene.machine.says(&["status"], "overlaps"), "{routes:?}");
    }
}

/// Holders of addresses of a pod range, each with the words that must name it.
const HELD: [(&str, &str); 6] = [
    ("addr add 10.22.0.9/32 dev up0", "10.22.0.9/32, an address of this machine (up0)"),
    ("addr add 10.22.0.1/24 dev cni0", "10.22.0.1/32, an address of this machine (cni0)"),
    ("route add 10.22.0.128/25 via 198.51.100.254", "10.22.0.128/25, a route of this machine (up0)"),
    ("route add 10.22.0.0/24 dev cni0", "10.22.0.0/24, a route of this machine (cni0)"),
    ("route add blackhole 10.22.0.5/32", "10.22.0.5/32, a route of this machine"),
    ("-6 route add fd22::8/125 dev cni0", "fd22::8/125, a route of this machine (cni0)"),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_has_addresses_of_a_pod_range_is_named_with_its_interface_unless_the_range_is_to_be_taken() {
    for (line, name) in HELD {
        let scene = Scene::new();
        for line in ["link add cni0 type bridge", "link set cni0 up", line] {
            scene.machine.ip(line);
        }
        let (pod, mut conf) = (scene.pod("a"), network("net", 22));
        let plugin = crate::scene::naru_cni();
        let said = scene.call(&plugin, "ADD", &pod, "eth0", &conf).unwrap_err();
        assert!(said.contains("\"code\": 7") || said.contains("\"code\":7"), "{line}: {said}");
        assert!(said.contains(&format!("overlaps {name}")), "{line}: {said}");
        conf["naru"] = json!({ "allowOverlap": true });
        scene.add(&pod, &conf);
        assert!(!scene.machine.says(&["status"], "overlaps"), "{line}: allowed");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn init_takes_a_range_of_somebody_else_when_told_so_and_remembers() {
    let machine = Machine::clustered();
    machine.ip("addr add 10.40.1.1/24 dev up0");
    let refused = machine.refused(&["init"]);
    assert!(refused.contains("10.40.1.1/32, an address of this machine (up0)"), "{refused}");
    machine.ok(&["init", "--allow-overlap"]);
    machine.ok(&["init"]);
    assert!(!machine.says(&["status"], "overlaps"));
    assert!(machine.ok(&["init", "--help"]).contains("--allow-overlap"));
}
