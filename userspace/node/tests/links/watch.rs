//! Notifications.

use std::time::Duration;

use naru_node::links::{Change, Links, Rule, Watch};

use super::scene::{Netns, attach, node};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_link_and_a_changed_route_are_noticed() {
    let (node, pod) = (node(), Netns::new());
    let changes = node.run(|| {
        let links = Links::open().unwrap();
        let mut watch = Watch::open().unwrap();
        // The end of the duplicate detection on the node's own address may still come.
        while watch.next(Some(Duration::from_millis(50))).unwrap().is_some() {}
        let index = attach(&links, &pod, "naruaa").unwrap();
        links.delete_routes(&links.routes().unwrap()).unwrap();
        links.ensure_rule(Rule { from: "10.32.0.0/24".parse().unwrap() }).unwrap();
        links.delete_host_veth("naruaa").unwrap();
        let mut changes = Vec::new();
        while let Some(change) = watch.next(Some(Duration::from_millis(300))).unwrap() {
            changes.push(change);
        }
        assert!(changes.contains(&Change::LinkGone { index, name: "naruaa".to_owned() }), "{changes:?}");
        let up = |change: &Change| matches!(change, Change::Link { index: of, up: true, .. } if *of == index);
        assert!(changes.iter().any(up), "{changes:?}");
        changes
    });
    for expected in
        [Change::Route { ours: true, gone: false }, Change::Route { ours: true, gone: true }, Change::Rule]
    {
        assert!(changes.contains(&expected), "{expected:?} in {changes:?}");
    }
}
