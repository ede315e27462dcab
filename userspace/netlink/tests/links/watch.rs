//! Notifications.

use super::scene::MARKS;
use std::time::Duration;

use naru_netlink::links::{Change, Links, Rule, Watch};

use super::scene::{Netns, attach, node};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_link_and_a_changed_route_are_noticed() {
    let (node, pod) = (node(), Netns::new());
    let changes = node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let mut watch = Watch::open(MARKS).unwrap();
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

#[test]
#[ignore = "needs root: cargo xtask test"]
fn filters_that_others_change_are_noticed_and_pods_that_come_and_go_are_not() {
    let netns = Netns::new();
    netns.run(|| {
        let ours = |veth: &str| {
            for way in ["ingress", "egress"] {
                let filter = format!("tc filter add dev {veth} {way} prio 5230 handle 1 protocol all");
                netns.sh(&format!("{filter} bpf da bytecode '1,6 0 0 0'"));
            }
        };
        let index = |veth: &str| Links::open(MARKS).unwrap().link(veth).unwrap().unwrap().index;
        let mut watch = Watch::open(MARKS).unwrap();
        let mut told = || {
            let mut all = Vec::new();
            while let Some(change) = watch.next(Some(Duration::from_millis(200))).unwrap() {
                assert_ne!(change, Change::Lost);
                all.extend(if let Change::Filters { index } = change { Some(index) } else { None });
            }
            all
        };
        for veth in ["v0", "v1"] {
            netns.sh(&format!(
                "ip link add {veth} type veth peer name p{veth}; tc qdisc add dev {veth} clsact"
            ));
            ours(veth);
        }
        netns.sh("ip link del v1");
        assert!(told().is_empty(), "as pods come and go");
        for change in [
            "filter del dev v0 egress",
            "filter add dev v0 egress prio 7 protocol all bpf da bytecode '1,6 0 0 0'",
            "filter add dev v0 ingress prio 5230 handle 2 protocol all bpf da bytecode '1,6 0 0 0'",
            "qdisc del dev v0 clsact",
        ] {
            netns.sh(&format!("tc {change}"));
            assert_eq!(told(), [index("v0")], "{change}");
        }
    });
}
