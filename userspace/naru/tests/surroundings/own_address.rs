//! Kind 27: the node's address chosen by its number. The kernel's own choice counts: its source towards the outside
//! (RFC 6724, primary addresses, a route's preferred source), but no passing address.

use crate::{
    machine::Machine,
    scene::{Scene, network},
};

/// Addresses of the machine besides 198.51.100.1 and 2001:db8::1, and the node's address in each family.
const TABLE: [(&[&str], [&str; 2]); 8] = [
    (&["addr add 198.51.100.0/32 dev up0"], ["198.51.100.1", "2001:db8::1"]),
    (&["addr add 10.0.0.1/32 dev lo", "addr add 2001:db8::/128 dev lo"], ["198.51.100.1", "2001:db8::1"]),
    (
        &["link add vip type bridge", "link set vip up", "addr add 10.96.0.1/32 dev vip"],
        ["198.51.100.1", "2001:db8::1"],
    ),
    (
        &[
            "addr del 198.51.100.1/24 dev up0",
            "addr add 198.51.100.9/24 dev up0",
            "addr add 198.51.100.1/24 dev up0",
        ],
        ["198.51.100.9", "2001:db8::1"],
    ),
    (&["addr add 2001:db7::5/64 dev up0 nodad preferred_lft 0"], ["198.51.100.1", "2001:db8::1"]),
    (
        &[
            "addr change 2001:db8::1/64 dev up0 nodad preferred_lft 0",
            "addr add 2001:db8::f/64 dev up0 nodad",
        ],
        ["198.51.100.1", "2001:db8::f"],
    ),
    (
        &["addr add 198.51.100.77/24 dev up0", "route replace default via 198.51.100.254 src 198.51.100.77"],
        ["198.51.100.77", "2001:db8::1"],
    ),
    (
        &["link add docker0 type bridge", "link set docker0 up", "addr add 172.17.0.1/16 dev docker0"],
        ["198.51.100.1", "2001:db8::1"],
    ),
];

/// The first address of each family among what is known of the node.
fn first_of_each(machine: &Machine) -> [String; 2] {
    let text = std::fs::read_to_string(machine.path("run/node.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all: Vec<&str> =
        facts["addresses"].as_array().unwrap().iter().map(|ip| ip.as_str().unwrap()).collect();
    [false, true].map(|v6| (*all.iter().find(|ip| ip.contains(':') == v6).unwrap()).to_owned())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_nodes_address_is_the_one_that_the_kernel_sends_from() {
    for (lines, expected) in TABLE {
        let scene = Scene::new();
        for line in lines {
            scene.machine.ip(line);
        }
        for line in ["route replace default via 198.51.100.254", "-6 route replace default via 2001:db8::fe"]
        {
            if !lines.iter().any(|done| done.contains("src") && !line.contains("-6")) {
                scene.machine.ip(line);
            }
        }
        let pod = scene.pod("a");
        let own = scene.add(&pod, &network("net", 22));
        assert_eq!(first_of_each(&scene.machine), expected, "{lines:?}");
        for (address, source) in own.iter().zip(expected) {
            let route = scene.machine.ip(&format!("route get {address}"));
            assert!(route.contains(&format!("src {source} ")), "{lines:?}: {route}");
            assert!(scene.machine_can_ping(address), "{lines:?}: {address}");
        }
    }
}
