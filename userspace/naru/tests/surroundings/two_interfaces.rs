//! Kind 9: one interface, one address a pod assumed.

use crate::scene::{Scene, network};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_with_one_interface_has_no_rules_and_one_route_to_its_gateway() {
    let scene = Scene::new();
    let pod = scene.pod("a");
    scene.add(&pod, &network("net", 22));
    assert_eq!(pod.ip("rule show").lines().count(), 3);
    assert_eq!(pod.ip("-4 route show 169.254.1.1").lines().count(), 1);
}
