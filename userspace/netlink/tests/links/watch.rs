//! Notifications.

use super::scene::MARKS;
use std::time::Duration;

use naru_netlink::links::{Change, ConfOf, DeviceConf, Links, Rule, Selector, Watch};

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
        let selector = Selector::From("10.32.0.0/24".parse().unwrap());
        links.ensure_rule(Rule { selector, table: 5230, preference: 5230, suppress: None }).unwrap();
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
    let is_route =
        |change: &Change, is: bool| matches!(change, Change::Route { ours: true, gone, .. } if *gone == is);
    for gone in [false, true] {
        assert!(changes.iter().any(|change| is_route(change, gone)), "gone: {gone} in {changes:?}");
    }
    assert!(changes.contains(&Change::Rule), "{changes:?}");
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

#[test]
#[ignore = "needs root: cargo xtask test"]
fn forwarding_and_filters_that_somebody_sets_are_announced_for_each_device_and_listed() {
    let netns = Netns::new();
    netns.run(|| {
        netns.sh("ip link add v0 type veth peer name v1; sysctl -qw net.ipv4.ip_forward=1");
        let links = Links::open(MARKS).unwrap();
        let of = ConfOf::Device(links.link("v0").unwrap().unwrap().index);
        let mut watch = Watch::open(MARKS).unwrap();
        let forwarding = |v4, of, on| DeviceConf { v4, of, forwarding: Some(on), rp_filter: None };
        for (setting, expected) in [
            ("ipv4.conf.v0.forwarding=0", forwarding(true, of, false)),
            ("ipv6.conf.v0.forwarding=1", forwarding(false, of, true)),
            ("ipv4.conf.default.forwarding=0", forwarding(true, ConfOf::Default, false)),
            ("ipv4.conf.all.forwarding=0", forwarding(true, ConfOf::All, false)),
            ("ipv4.conf.v0.rp_filter=1", DeviceConf { v4: true, of, forwarding: None, rp_filter: Some(1) }),
        ] {
            netns.sh(&format!("sysctl -qw net.{setting}"));
            let mut told = Vec::new();
            while let Some(change) = watch.next(Some(Duration::from_millis(100))).unwrap() {
                told.push(change);
            }
            assert!(told.contains(&Change::Conf(expected)), "{setting}: {told:?}");
            let found = links.device_confs().unwrap();
            let found = found.iter().find(|conf| (conf.v4, conf.of) == (expected.v4, expected.of)).unwrap();
            assert_eq!(found.forwarding, expected.forwarding.or(Some(false)), "{setting}");
            assert!(
                expected.rp_filter.is_none() || found.rp_filter == expected.rp_filter,
                "{setting}: {found:?}"
            );
        }
    });
}
