//! Kind 9: one interface and one address a pod assumed. Two networks with a default route each, or two interfaces
//! in one network: both addresses work from the node, from other pods and from outside, as with two reference ptp.

use std::path::Path;

use serde_json::{Value, json};

use crate::scene::{Namespace, Scene, addresses, naru_cni, network};

/// The second interface's network, and whether the reference plugin `sbr` comes behind.
const TABLE: [(&str, u8, bool); 4] =
    [("second", 33, false), ("second", 33, true), ("net", 22, false), ("other-name", 33, false)];

fn routed(scene: &Scene) {
    for line in ["route add 10.22.0.0/24 via 198.51.100.1", "route add 10.33.0.0/24 via 198.51.100.1"] {
        scene.at_neighbour(line);
    }
    for line in ["-6 route add fd22::/112 via 2001:db8::1", "-6 route add fd33::/112 via 2001:db8::1"] {
        scene.at_neighbour(line);
    }
}

fn with(conf: &Value, result: &Value) -> Value {
    let mut conf = conf.clone();
    conf["prevResult"] = result.clone();
    conf
}

fn assert_all_work(scene: &Scene, other: &Namespace, all: &[String], when: &str) {
    for address in all {
        assert!(scene.machine_can_ping(address), "{when}: the node to {address}");
        assert!(other.can_ping(address), "{when}: another pod to {address}");
        assert!(scene.neighbour_can_ping(address), "{when}: outside to {address}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_addresses_of_a_pod_with_two_interfaces_work_from_everywhere() {
    for (name, number, has_sbr) in TABLE {
        let when = format!("{name} {number} {has_sbr}");
        let scene = Scene::new();
        routed(&scene);
        let (pod, others) = (scene.pod("a"), ["b", "c"].map(|other| scene.pod(other)));
        let (first, second) = (network("net", 22), network(name, number));
        scene.add(&others[0], &first);
        let eth0 = scene.call(&naru_cni(), "ADD", &pod, "eth0", &first).unwrap();
        let net1 = scene.call(&naru_cni(), "ADD", &pod, "net1", &second).unwrap();
        let there = scene.add(&others[1], &second);
        if has_sbr {
            let sbr = json!({ "cniVersion": "1.0.0", "name": name, "type": "sbr", "prevResult": net1 });
            scene
                .call(Path::new("/usr/lib/cni/sbr"), "ADD", &pod, "net1", &sbr)
                .unwrap_or_else(|why| panic!("{when}: {why}"));
        }
        let all = [addresses(&eth0), addresses(&net1)].concat();
        for other in &others {
            assert_all_work(&scene, other, &all, &when);
        }
        for address in there.iter().map(String::as_str).chain(crate::scene::OUTSIDE) {
            assert!(pod.can_ping(address), "{when}: the pod to {address}");
        }
        assert!(
            !scene.machine.ok(&["stats"]).contains("spoofed"),
            "{when}: {}",
            scene.machine.ok(&["stats"])
        );
        for (ifname, conf, result) in [("eth0", &first, &eth0), ("net1", &second, &net1)] {
            let said = scene.call(&naru_cni(), "CHECK", &pod, ifname, &with(conf, result));
            said.unwrap_or_else(|why| panic!("{when}: {ifname}: {why}"));
            let again = scene.call(&naru_cni(), "ADD", &pod, ifname, conf).unwrap();
            assert_eq!(addresses(&again), addresses(result), "{when}: asked again");
        }
        scene.call(&naru_cni(), "DEL", &pod, "net1", &second).unwrap();
        assert_all_work(&scene, &others[0], &addresses(&eth0), &format!("{when}, after DEL of the second"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_with_one_interface_has_no_rules_and_one_route_to_its_gateway() {
    let scene = Scene::new();
    let pod = scene.pod("a");
    scene.add(&pod, &network("net", 22));
    assert_eq!(pod.ip("rule show").lines().count(), 3);
    assert_eq!(pod.ip("-4 route show 169.254.1.1").lines().count(), 1);
}
