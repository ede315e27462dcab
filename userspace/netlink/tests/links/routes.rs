//! Routes, rules, neighbours and paths.

use super::scene::MARKS;
use std::net::IpAddr;

use ipnet::IpNet;

use naru_netlink::links::{
    ForeignRule, Links, MAIN, Neighbour, NextHop, PairSpec, Route, RouteTarget, Rule, Selector,
};

use super::scene::{HOST_MAC, NODE, Netns, POD, POD_MAC, ip, node, overlay, spec};

fn to_block(block: IpNet, index: u32, source: Option<IpAddr>, mtu: u32) -> Route {
    let target = RouteTarget::Gateway { index, via: MARKS.gateways.of(block.addr()) };
    Route::new(block, MAIN, target, source, Some(mtu))
}

fn to_node(node: IpAddr, index: u32, mtu: u32) -> Route {
    let target = RouteTarget::Gateway { index, via: MARKS.gateways.of(node) };
    Route::new(IpNet::from(node), 5230, target, None, Some(mtu))
}

fn unreachable(block: IpNet) -> Route {
    Route::new(block, MAIN, RouteTarget::Unreachable, None, None)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_form_of_route_comes_back_as_it_was_made_and_goes_again() {
    let node = node();
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let mut routes = Vec::new();
        for (number, family) in
            ["10.33.0.0/24 10.32.0.0/24 198.51.100.7", "fd10:33::/112 fd10:32::/112 2001:db8::7"]
                .iter()
                .enumerate()
        {
            let parts: Vec<&str> = family.split(' ').collect();
            routes.push(to_block(parts[0].parse().unwrap(), index, Some(ip(NODE[number])), 1450));
            routes.push(unreachable(parts[1].parse().unwrap()));
            routes.push(to_node(ip(parts[2]), index, 1450));
            let pod = Route::to_pod(ip(POD[number]), index, Some(ip(NODE[number])), 1400);
            routes.extend([pod, pod.spare()]);
        }
        routes.sort_unstable_by_key(|route| (route.destination, route.table, route.metric));
        links.ensure_routes(&routes).unwrap();
        assert_eq!(links.routes().unwrap(), routes);
        links.ensure_routes(&routes).unwrap();
        assert_eq!(links.routes().unwrap(), routes);

        let changed = Route { mtu: Some(1380), ..routes[0] };
        links.ensure_routes(&[changed]).unwrap();
        assert!(links.routes().unwrap().contains(&changed));
        assert_eq!(links.routes().unwrap().len(), routes.len());

        links.delete_routes(&routes).unwrap();
        assert_eq!(links.routes().unwrap(), []);
        links.delete_routes(&routes).unwrap();
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_refused_route_is_named_and_the_others_are_in_place() {
    let node = node();
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let good = to_block("10.34.0.0/24".parse().unwrap(), index, None, 1450);
        let target = RouteTarget::Gateway { index: 4711, via: MARKS.gateways.both()[0] };
        let bad = Route { destination: "10.33.0.0/24".parse().unwrap(), target, ..good };
        let error = links.ensure_routes(&[bad, good]).unwrap_err();
        assert!(error.to_string().starts_with("route 10.33.0.0/24: add: "), "{error}");
        assert_eq!(links.routes().unwrap(), [good]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_route_of_another_to_the_same_destination_is_named_and_stays() {
    let node = node();
    node.sh("ip route add 10.33.0.0/24 dev lo proto static; ip route add 10.35.0.0/24 dev lo metric 7");
    node.sh("ip -6 route add fd10:33::/112 dev lo proto static");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let route = |to: &str| to_block(to.parse().unwrap(), index, None, 1450);
        let [good, beside] = ["10.34.0.0/24", "10.35.0.0/24"].map(route);
        for to in ["10.33.0.0/24", "fd10:33::/112"] {
            let error = links.ensure_routes(&[route(to), good, beside]).unwrap_err().to_string();
            assert_eq!(error, format!("route {to}: not ours: somebody else has a route to it, which stays"));
            assert_eq!(links.routes().unwrap(), [good, beside], "those to other places are made");
        }
    });
    assert!(node.sh("ip route show 10.33.0.0/24").contains("dev lo proto static"));
    assert!(node.sh("ip -6 route show fd10:33::/112").contains("dev lo proto static"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_route_that_somebody_put_before_ours_is_not_the_one_that_is_replaced() {
    let node = node();
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let [old, new] = [1450, 1400].map(|mtu| to_block("10.33.0.0/24".parse().unwrap(), index, None, mtu));
        links.ensure_routes(&[old]).unwrap();
        node.sh("ip route prepend 10.33.0.0/24 dev lo proto static");
        let error = links.ensure_routes(&[new]).unwrap_err().to_string();
        assert!(error.contains("somebody else has a route to it, which stays"), "{error}");
        assert_eq!(links.routes().unwrap(), [old]);
        assert!(node.sh("ip route show 10.33.0.0/24").contains("dev lo proto static"));
        node.sh("ip route del 10.33.0.0/24 dev lo proto static");
        links.ensure_routes(&[new]).unwrap();
        assert_eq!(links.routes().unwrap(), [new], "it is replaced when nothing is before it");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn thousands_of_routes_go_in_and_out_in_one_call() {
    let node = node();
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let block = |n: u32| format!("10.{}.{}.0/24", 64 + n / 256, n % 256).parse().unwrap();
        let routes: Vec<Route> = (0..3000).map(|n| to_block(block(n), index, None, 1450)).collect();
        links.ensure_routes(&routes).unwrap();
        assert_eq!(links.routes().unwrap().len(), 3000);
        links.delete_routes(&routes).unwrap();
        assert_eq!(links.routes().unwrap().len(), 0);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_rule_is_there_once_and_goes_exactly() {
    let node = node();
    let before = node.sh("ip rule; ip -6 rule");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let net = |text: &str| text.parse().unwrap();
        let rule = |selector, preference, suppress| Rule { selector, table: 5230, preference, suppress };
        let rules = [
            rule(Selector::From(net("10.32.0.0/24")), 5230, None),
            rule(Selector::From(net("fd10:32::/112")), 5230, None),
            rule(Selector::To(net("10.32.0.0/12")), 150, None),
            rule(Selector::To(net("fd10:32::/48")), 150, Some(127)),
        ];
        for rule in rules.into_iter().chain(rules) {
            links.ensure_rule(rule).unwrap();
        }
        assert_eq!(links.rules().unwrap().own, rules.into());
        assert_eq!(links.rules().unwrap().foreign, [], "the kernel's own lead nobody elsewhere");
        node.sh("ip rule add pref 5270 lookup 52; ip -6 rule add pref 7 blackhole; ip rule add pref 9 lookup main");
        let foreign = |preference, v4, table| ForeignRule { preference, v4, table };
        assert_eq!(links.rules().unwrap().foreign, [foreign(7, false, None), foreign(5270, true, Some(52))]);
        node.sh("ip rule del pref 5270; ip -6 rule del pref 7; ip rule del pref 9");
        for rule in rules {
            assert!(links.delete_rule(rule).unwrap());
            assert!(!links.delete_rule(rule).unwrap());
        }
    });
    assert_eq!(node.sh("ip rule; ip -6 rule"), before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_neighbour_takes_the_latest_mac_and_goes() {
    let node = node();
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        for gateway in MARKS.gateways.both() {
            links.ensure_neighbour(&Neighbour { index, ip: gateway, mac: HOST_MAC }).unwrap();
            let latest = Neighbour { index, ip: gateway, mac: POD_MAC };
            links.ensure_neighbour(&latest).unwrap();
            assert_eq!(links.neighbours(index).unwrap(), [latest]);
            assert!(links.delete_neighbour(index, gateway).unwrap());
            assert!(!links.delete_neighbour(index, gateway).unwrap());
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_path_to_an_address_has_the_devices_or_the_routes_mtu() {
    let (node, peer) = (Netns::new(), Netns::new());
    node.run(|| {
        Links::open(MARKS).unwrap().create_pair(&PairSpec { mtu: 1400, ..spec("under") }, peer.fd()).unwrap()
    });
    peer.sh("ip link set eth0 up");
    node.sh("ip link set under up; ip addr add 198.51.100.1/24 dev under");
    node.sh("ip addr add 2001:db8:5::1/64 dev under nodad");
    node.sh("ip route add 203.0.113.0/24 via 198.51.100.2 mtu 1300");
    node.sh("ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8:5::2 proto ra");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        for (to, mtu, source) in [
            ("198.51.100.9", 1400, "198.51.100.1"),
            ("2001:db8:5::9", 1400, "2001:db8:5::1"),
            ("203.0.113.1", 1300, "198.51.100.1"),
        ] {
            let path = links.path_to(ip(to)).unwrap();
            assert_eq!(
                (path.device.as_str(), path.mtu, path.source),
                ("under", mtu, Some(ip(source))),
                "{to}"
            );
        }
        let outside: Vec<_> =
            links.paths_outside().unwrap().into_iter().map(|path| (path.device, path.next)).collect();
        let router = |ip: &str| ("under".to_owned(), NextHop::Router(ip.parse().unwrap()));
        assert_eq!(outside, [router("198.51.100.2"), router("2001:db8:5::2")]);
        let all = links.foreign_routes(|_| true).unwrap();
        let foreign: Vec<_> =
            all.iter().map(|route| (route.destination.to_string(), route.is_links_own)).collect();
        let expected = [("198.51.100.0/24", true), ("203.0.113.0/24", false), ("2001:db8:5::/64", true)];
        assert_eq!(foreign, expected.map(|(net, own)| (net.to_owned(), own)));
        assert!(all.iter().all(|route| route.device.is_some()));
        assert_eq!(links.foreign_routes(|net| net.prefix_len() > 64).unwrap(), []);
        let held: Vec<IpAddr> = links.addresses().unwrap().iter().map(|address| address.ip).collect();
        assert!(held.contains(&ip("198.51.100.1")) && held.contains(&ip("2001:db8:5::1")), "{held:?}");
    });
    node.sh("ip route del default");
    let error = node.run(|| Links::open(MARKS).unwrap().path_to(ip("8.8.8.8")).unwrap_err());
    assert_eq!(error.errno(), Some(libc::ENETUNREACH), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_path_of_several_hops_has_all_their_devices_and_the_smallest_mtu() {
    let node = Netns::new();
    for (device, mtu, net) in [("u0", 1500, 1), ("u1", 1400, 2)] {
        node.sh(&format!(
            "ip link add {device} mtu {mtu} type veth peer name far{net}; ip link set far{net} up"
        ));
        node.sh(&format!("ip link set {device} up; ip addr add 198.51.{net}.1/24 dev {device}"));
        node.sh(&format!("ip addr add 2001:db8:{net}::1/64 dev {device} nodad"));
    }
    let hops = |prefix: &str| {
        let via =
            |net| format!("nexthop via {prefix}{net}{}", if prefix.contains(':') { "::2" } else { ".2" });
        format!("{} {}", via(1), via(2))
    };
    node.sh(&format!("ip route add 203.0.113.0/24 {}", hops("198.51.")));
    node.sh(&format!("ip -6 route add 2001:db8:ff::/64 {}", hops("2001:db8:")));
    let path = |to: &str| node.run(|| Links::open(MARKS).unwrap().path_to(ip(to)).unwrap());
    for to in ["203.0.113.1", "2001:db8:ff::1"] {
        let path = path(to);
        assert_eq!(
            (path.hops.into_values().collect(), path.mtu),
            (vec!["u0".into(), "u1".into()], 1400),
            "{to}"
        );
        assert!(path.next.router().is_some() && path.is_ethernet, "{to}");
    }
    node.sh("ip link set u1 down");
    for to in ["203.0.113.1", "2001:db8:ff::1"] {
        let path = path(to);
        assert_eq!((path.hops.into_values().collect(), path.mtu), (vec!["u0".to_owned()], 1500), "{to}");
    }
}
