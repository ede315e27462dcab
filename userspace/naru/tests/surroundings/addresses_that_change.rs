//! Kind 2: a pod's wiring depends on a fact of the host that may change. Nothing here has an agent.

use crate::scene::{Namespace, OUTSIDE, Scene, network};

const DEFAULTS: [&str; 2] =
    ["route replace default via 198.51.100.254", "-6 route replace default via 2001:db8::fe"];

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
