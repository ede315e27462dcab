//! Kind 2: a pod's wiring depends on a fact of the host that may change. Nothing here has an agent.

use crate::scene::{Namespace, OUTSIDE, Scene, network};

/// A change of the host, and the state that must follow.
struct Change {
    name: &'static str,
    host: &'static [&'static str],
    neighbour: &'static [&'static str],
}

const DEFAULTS: [&str; 2] =
    ["route replace default via 198.51.100.254", "-6 route replace default via 2001:db8::fe"];

const CHANGES: [Change; 7] = [
    Change {
        name: "an address goes and comes back",
        host: &["addr del 198.51.100.1/24 dev up0", "addr add 198.51.100.1/24 dev up0"],
        neighbour: &[],
    },
    Change {
        name: "both families' addresses go and come back",
        host: &[
            "addr flush dev up0 scope global",
            "addr add 198.51.100.1/24 dev up0",
            "addr add 2001:db8::1/64 dev up0 nodad",
        ],
        neighbour: &[],
    },
    Change {
        name: "the host gets another address",
        host: &["addr del 198.51.100.1/24 dev up0", "addr add 198.51.100.55/24 dev up0"],
        neighbour: &[],
    },
    Change {
        name: "the host gets another IPv6 prefix",
        host: &[
            "addr add 2001:db8:9::1/64 dev up0 nodad",
            "addr del 2001:db8::1/64 dev up0",
            "-6 route replace default via 2001:db8:9::fe",
        ],
        neighbour: &["addr add 2001:db8:9::fe/64 dev far0 nodad"],
    },
    Change {
        name: "the link goes down and up",
        host: &["link set up0 down", "link set up0 up", "addr replace 2001:db8::1/64 dev up0 nodad"],
        neighbour: &[],
    },
    Change {
        name: "the link's MTU shrinks",
        host: &["link set up0 mtu 1300"],
        neighbour: &["link set far0 mtu 1300"],
    },
    Change {
        name: "an address is added before the other",
        host: &["addr add 198.51.100.0/32 dev lo", "addr add 203.0.113.7/32 dev up0"],
        neighbour: &[],
    },
];

fn assert_works(scene: &Scene, pod: &Namespace, own: &[String], when: &str) {
    for address in OUTSIDE {
        assert!(pod.can_ping(address), "{when}: {} to {address}", pod.0);
    }
    for address in own {
        assert!(scene.machine_can_ping(address), "{when}: the machine to {address}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_keep_their_way_out_and_in_whatever_becomes_of_the_hosts_addresses() {
    for change in CHANGES {
        let scene = Scene::new();
        let conf = network("net", 22);
        let pods = ["a", "b", "c"].map(|name| scene.pod(name));
        let first = scene.add(&pods[0], &conf);
        assert_works(&scene, &pods[0], &first, "before");
        for line in change.neighbour {
            scene.at_neighbour(line);
        }
        for line in change.host {
            scene.machine.ip(line);
        }
        for line in DEFAULTS
            .iter()
            .filter(|line| !change.host.iter().any(|done| done.contains(&line[..9]) && done.contains("-6")))
        {
            scene.machine.ip(line);
        }
        assert_works(&scene, &pods[0], &first, change.name);
        let second = scene.add(&pods[1], &conf);
        assert_works(&scene, &pods[1], &second, change.name);
        assert!(pods[1].can_ping(&first[0]) && pods[0].can_ping(&second[1]), "{}: between pods", change.name);
        scene.machine.ok(&["init"]);
        let third = scene.add(&pods[2], &conf);
        for (pod, own) in pods.iter().zip([&first, &second, &third]) {
            assert_works(&scene, pod, own, &format!("{}, after init", change.name));
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_family_that_the_host_gets_later_serves_pods_of_before() {
    let scene = Scene::new();
    for line in ["addr del 2001:db8::1/64 dev up0", "-6 route flush default"] {
        scene.machine.ip(line);
    }
    let (conf, pod, later) = (network("net", 22), scene.pod("a"), scene.pod("b"));
    let own = scene.add(&pod, &conf);
    assert!(pod.can_ping(OUTSIDE[0]) && !pod.can_ping(OUTSIDE[1]));
    scene.machine.ip("addr add 2001:db8::1/64 dev up0 nodad");
    scene.machine.ip(DEFAULTS[1]);
    assert_works(&scene, &pod, &own, "with IPv6");
    let own = scene.add(&later, &conf);
    assert_works(&scene, &later, &own, "with IPv6");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_see_the_nodes_address_as_long_as_it_has_it_and_their_routes_leave_no_trace() {
    let scene = Scene::new();
    let conf = network("net", 22);
    let pod = scene.pod("a");
    let own = scene.add(&pod, &conf);
    let source = || scene.machine.ip(&format!("route get {}", own[0]));
    assert!(source().contains("src 198.51.100.1"), "{}", source());
    scene.machine.ip("addr add 203.0.113.9/24 dev up0");
    scene.machine.ip("addr del 198.51.100.1/24 dev up0");
    assert!(source().contains("src 203.0.113.9"), "{}", source());
    let plugin = crate::scene::naru_cni();
    scene
        .call(&plugin, "CHECK", &pod, "eth0", &{
            let mut conf = conf.clone();
            conf["prevResult"] = scene.call(&plugin, "ADD", &pod, "eth0", &conf).unwrap();
            conf
        })
        .unwrap();
    scene.call(&plugin, "DEL", &pod, "eth0", &conf).unwrap();
    let left = scene.machine.kernel_routes();
    assert!(!left.iter().any(|route| route.starts_with(&own[0]) || route.starts_with(&own[1])), "{left:?}");
}
