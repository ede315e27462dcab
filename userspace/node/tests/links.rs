//! The netlink adapters against the running kernel, each test in namespaces of its own.

#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod support;

use std::{
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use naru_node::links::{
    Change, GATEWAY_V4, GATEWAY_V6, HostSide, LinkError, Links, Mac, Neighbour, Overlay, PairSpec,
    PodAddress, PodRoute, PodSide, Route, RouteTarget, Rule, Watch, loopback_up, pod_facts, wire_pod,
};
use support::Netns;

const POD_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const POD: [&str; 2] = ["10.32.0.5", "fd10:32::5"];
const ALIAS: &str = "naru1:net/c0ffee/eth0/7";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A node's namespace: its addresses on the loopback device.
fn node() -> Netns {
    let netns = Netns::new();
    netns.sh("ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo nodad");
    netns
}

fn spec(name: &str) -> PairSpec<'_> {
    PairSpec {
        host_name: name,
        host_mac: HOST_MAC,
        alias: ALIAS,
        pod_name: "eth0",
        pod_mac: POD_MAC,
        mtu: 1450,
    }
}

fn default_routes() -> [PodRoute; 2] {
    ["0.0.0.0/0", "::/0"].map(|text| PodRoute {
        destination: text.parse().unwrap(),
        gateway: None,
        mtu: Some(1430),
    })
}

/// A pod of both families on the node, as the plugin wires it.
fn attach(links: &Links, pod: &Netns, name: &str) -> Result<u32, LinkError> {
    let index = links.create_pair(&spec(name), pod.fd())?;
    let addresses = POD.map(ip);
    let side =
        PodSide { name: "eth0", gateway_mac: HOST_MAC, addresses: &addresses, routes: &default_routes() };
    wire_pod(pod.fd(), &side)?;
    let addresses = [0, 1].map(|i| PodAddress { ip: ip(POD[i]), source: Some(ip(NODE[i])) });
    links.activate(&HostSide { name, index, mtu: 1450, pod_mac: POD_MAC, addresses: &addresses })?;
    Ok(index)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_new_pair_is_down_and_carries_alias_mac_and_mtu_from_its_birth() {
    let (node, pod) = (node(), Netns::new());
    let link = node.run(|| {
        let links = Links::open().unwrap();
        let index = links.create_pair(&spec("naruaa"), pod.fd()).unwrap();
        assert_eq!(links.link("naruaa").unwrap().unwrap().index, index);
        links.link_at(index).unwrap().unwrap()
    });
    assert_eq!((link.alias.as_str(), link.mac, link.mtu, link.up), (ALIAS, Some(HOST_MAC), 1450, false));
    let facts = pod_facts(pod.fd(), "eth0").unwrap().unwrap();
    assert_eq!((facts.link.mac, facts.link.mtu, facts.link.up), (Some(POD_MAC), 1450, false));
    assert_eq!(facts.link.peer_index, Some(link.index));
    assert_eq!(link.peer_index, Some(facts.link.index));
    assert!(link.peer_netnsid.is_some());
    assert!(node.sh("ip -d link show naruaa").contains("addrgenmode none"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_wired_pod_shows_exactly_its_addresses_routes_and_gateways() {
    let (node, pod) = (node(), Netns::new());
    node.run(|| attach(&Links::open().unwrap(), &pod, "naruaa").unwrap());
    let facts = pod_facts(pod.fd(), "eth0").unwrap().unwrap();
    let addresses: Vec<_> = facts.addresses.iter().map(|a| (a.ip, a.prefix_len, a.unsettled)).collect();
    assert_eq!(addresses, [(ip(POD[0]), 32, false), (ip(POD[1]), 128, false)]);
    let gateways = [GATEWAY_V4, GATEWAY_V6];
    let expected = gateways.map(|ip| Neighbour { index: facts.link.index, ip, mac: HOST_MAC });
    assert_eq!(facts.neighbours, expected);
    for gateway in gateways {
        let by = |route: &naru_node::links::PodRouteFact| {
            route.gateway == Some(gateway) && route.mtu == Some(1430)
        };
        assert!(
            facts.routes.iter().any(|route| by(route) && route.destination.prefix_len() == 0),
            "{facts:?}"
        );
        let on_link = |route: &naru_node::links::PodRouteFact| route.destination.addr() == gateway;
        assert!(facts.routes.iter().any(|route| on_link(route) && route.gateway.is_none()), "{facts:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_address_of_a_pod_is_ever_tentative_and_its_sysctls_are_set() {
    let (node, pod) = (node(), Netns::new());
    pod.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    node.run(|| attach(&Links::open().unwrap(), &pod, "naruaa").unwrap());
    assert_eq!(pod.sh("ip -o addr show tentative"), "");
    assert!(pod.sh("ip -o addr show").contains("fe80::"), "the link-local address is there as well");
    let read = |key: &str| pod.sh(&format!("cat /proc/sys/net/{key}")).trim().to_owned();
    let keys =
        ["disable_ipv6", "accept_ra", "ndisc_notify"].map(|key| read(&format!("ipv6/conf/eth0/{key}")));
    assert_eq!(keys, ["0", "0", "1"]);
    assert_eq!(read("ipv4/conf/eth0/arp_notify"), "1");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_talks_to_its_node_at_once_in_both_families() {
    let (node, pod) = (node(), Netns::new());
    node.run(|| attach(&Links::open().unwrap(), &pod, "naruaa").unwrap());
    for (node_ip, pod_ip) in NODE.into_iter().zip(POD) {
        let server = node.run(|| UdpSocket::bind((ip(node_ip), 0)).unwrap());
        let client = pod.run(|| UdpSocket::bind((ip(pod_ip), 0)).unwrap());
        let wait = Some(Duration::from_millis(500));
        server.set_read_timeout(wait).unwrap();
        client.set_read_timeout(wait).unwrap();
        client.send_to(b"ping", server.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 8];
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip(), ip(pod_ip));
        server.send_to(b"pong", from).unwrap();
        assert_eq!(client.recv_from(&mut buffer).unwrap().0, 4);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn wiring_a_pod_takes_milliseconds() {
    let node = node();
    let mut taken: Vec<Duration> = Vec::new();
    let mut deleted: Vec<Duration> = Vec::new();
    node.run(|| {
        let links = Links::open().unwrap();
        for number in 0..20 {
            let (pod, name) = (Netns::new(), format!("naru{number:x}"));
            let start = Instant::now();
            attach(&links, &pod, &name).unwrap();
            taken.push(start.elapsed());
            let start = Instant::now();
            assert!(links.delete_host_veth(&name).unwrap());
            deleted.push(start.elapsed());
        }
    });
    taken.sort_unstable();
    deleted.sort_unstable();
    println!(
        "wiring a dual-stack pod: p50 {:?}, max {:?}; deletion p50 {:?}",
        taken[10], taken[19], deleted[10]
    );
    assert!(taken[10] < Duration::from_millis(50), "{taken:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn wiring_twice_changes_nothing() {
    let (node, pod) = (node(), Netns::new());
    node.run(|| {
        let links = Links::open().unwrap();
        let index = attach(&links, &pod, "naruaa").unwrap();
        let before =
            (pod_facts(pod.fd(), "eth0").unwrap(), links.routes().unwrap(), links.neighbours(index).unwrap());
        let addresses = POD.map(ip);
        let routes = default_routes();
        let side = PodSide { name: "eth0", gateway_mac: HOST_MAC, addresses: &addresses, routes: &routes };
        wire_pod(pod.fd(), &side).unwrap();
        let addresses = [0, 1].map(|i| PodAddress { ip: ip(POD[i]), source: Some(ip(NODE[i])) });
        let side = HostSide { name: "naruaa", index, mtu: 1450, pod_mac: POD_MAC, addresses: &addresses };
        links.activate(&side).unwrap();
        let after =
            (pod_facts(pod.fd(), "eth0").unwrap(), links.routes().unwrap(), links.neighbours(index).unwrap());
        assert_eq!(before, after);
        assert_eq!(after.1.len(), 2);
        assert_eq!(after.2.len(), 2);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn only_our_own_veth_is_listed_and_deleted_and_twice_is_no_error() {
    let (node, pod) = (node(), Netns::new());
    node.sh("ip link add theirs type veth peer name theirs2; ip link add br0 type bridge");
    node.run(|| {
        let links = Links::open().unwrap();
        attach(&links, &pod, "naruaa").unwrap();
        let names: Vec<String> = links.host_veths().unwrap().into_iter().map(|veth| veth.name).collect();
        assert_eq!(names, ["naruaa"]);
        assert!(matches!(links.delete_host_veth("theirs"), Err(LinkError::Foreign { .. })));
        assert!(matches!(links.delete_host_veth("br0"), Err(LinkError::Foreign { .. })));
        assert!(links.delete_host_veth("naruaa").unwrap());
        assert!(!links.delete_host_veth("naruaa").unwrap());
        assert!(links.routes().unwrap().is_empty());
    });
    assert_eq!(pod_facts(pod.fd(), "eth0").unwrap(), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_taken_name_is_told_and_leaves_both_namespaces_as_they_were() {
    let (node, pod) = (node(), Netns::new());
    node.sh("ip link add naruaa type bridge; ip link set naruaa alias theirs");
    pod.sh("ip link add eth0 type bridge");
    node.run(|| {
        let links = Links::open().unwrap();
        let error = links.create_pair(&spec("naruaa"), pod.fd()).unwrap_err();
        assert!(error.is_present(), "{error}");
        assert_eq!(links.link("naruaa").unwrap().unwrap().alias, "theirs");
        assert!(links.create_pair(&spec("narubb"), pod.fd()).unwrap_err().is_present());
        assert_eq!(links.link("narubb").unwrap(), None);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_refusal_names_the_thing_the_action_and_the_reason() {
    let (node, pod) = (node(), Netns::new());
    let error = node.run(|| {
        let spec = PairSpec { mtu: 70_000, ..spec("naruaa") };
        Links::open().unwrap().create_pair(&spec, pod.fd()).unwrap_err()
    });
    let text = error.to_string();
    assert!(text.starts_with("veth naruaa: create with peer eth0, mtu 70000: "), "{text}");
    assert!(text.ends_with("invalid argument"), "{text}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_alias_that_is_refused_takes_the_pair_back() {
    let (node, pod) = (node(), Netns::new());
    let alias = "naru1:".to_owned() + &"x".repeat(300);
    node.run(|| {
        let links = Links::open().unwrap();
        assert!(links.create_pair(&PairSpec { alias: &alias, ..spec("naruaa") }, pod.fd()).is_err());
        assert_eq!(links.link("naruaa").unwrap(), None);
    });
    assert_eq!(pod_facts(pod.fd(), "eth0").unwrap(), None);
}

fn overlay(port: u16) -> Overlay {
    Overlay { name: "naru-vx".to_owned(), port, mac: Mac([2, 1, 2, 3, 4, 5]), mtu: 1450 }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_form_of_route_comes_back_as_it_was_made_and_goes_again() {
    let node = node();
    node.run(|| {
        let links = Links::open().unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let mut routes = Vec::new();
        for (number, family) in
            ["10.33.0.0/24 10.32.0.0/24 198.51.100.7", "fd10:33::/112 fd10:32::/112 2001:db8::7"]
                .iter()
                .enumerate()
        {
            let parts: Vec<&str> = family.split(' ').collect();
            routes.push(Route::to_block(parts[0].parse().unwrap(), index, Some(ip(NODE[number])), 1450));
            routes.push(Route::unreachable(parts[1].parse().unwrap()));
            routes.push(Route::to_node(ip(parts[2]), index, 1450));
            routes.push(Route::to_pod(ip(POD[number]), index, Some(ip(NODE[number])), 1400));
        }
        routes.sort_unstable();
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
        let links = Links::open().unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let good = Route::to_block("10.34.0.0/24".parse().unwrap(), index, None, 1450);
        let target = RouteTarget::Gateway { index: 4711, via: GATEWAY_V4 };
        let bad = Route { destination: "10.33.0.0/24".parse().unwrap(), target, ..good };
        let error = links.ensure_routes(&[bad, good]).unwrap_err();
        assert!(error.to_string().starts_with("route 10.33.0.0/24: add: "), "{error}");
        assert_eq!(links.routes().unwrap(), [good]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn thousands_of_routes_go_in_and_out_in_one_call() {
    let node = node();
    node.run(|| {
        let links = Links::open().unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        let block = |n: u32| format!("10.{}.{}.0/24", 64 + n / 256, n % 256).parse().unwrap();
        let routes: Vec<Route> = (0..3000).map(|n| Route::to_block(block(n), index, None, 1450)).collect();
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
        let links = Links::open().unwrap();
        let rules = ["10.32.0.0/24", "fd10:32::/112"].map(|from| Rule { from: from.parse().unwrap() });
        for rule in rules.into_iter().chain(rules) {
            links.ensure_rule(rule).unwrap();
        }
        assert_eq!(links.rules().unwrap(), rules);
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
        let links = Links::open().unwrap();
        let index = links.ensure_overlay(&overlay(8472)).unwrap().index;
        for gateway in [GATEWAY_V4, GATEWAY_V6] {
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
fn the_overlay_device_is_made_once_and_remade_only_for_another_port_or_kind() {
    let node = node();
    node.sh("ip link add naru-vx type bridge");
    node.run(|| {
        let links = Links::open().unwrap();
        assert!(links.ensure_overlay(&overlay(8472)).unwrap().created, "a link of another kind is replaced");
        let first = links.ensure_overlay(&overlay(8472)).unwrap();
        assert!(!first.created);
        let changed = Overlay { mtu: 1400, mac: Mac([2, 9, 9, 9, 9, 9]), ..overlay(8472) };
        let same = links.ensure_overlay(&changed).unwrap();
        assert_eq!((same.index, same.created), (first.index, false));
        let link = links.link("naru-vx").unwrap().unwrap();
        assert_eq!((link.mac, link.mtu, link.up), (Some(changed.mac), 1400, true));
        assert!(links.ensure_overlay(&overlay(8473)).unwrap().created);
    });
    let shown = node.sh("ip -d link show naru-vx");
    for word in [
        "vxlan external",
        "dstport 8473",
        "nolearning",
        "udp6zerocsumrx",
        "addrgenmode none",
        "qdisc noqueue",
    ] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert_eq!(node.sh("ip -6 addr show dev naru-vx"), "");
    node.run(|| {
        let links = Links::open().unwrap();
        assert!(links.delete_overlay("naru-vx").unwrap());
        assert!(!links.delete_overlay("naru-vx").unwrap());
        assert!(matches!(links.delete_overlay("lo"), Err(LinkError::Foreign { .. })));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_taken_port_is_told_by_number_and_leaves_no_device() {
    let node = node();
    node.sh("ip link add other type vxlan external dstport 8472; ip link set other up");
    node.run(|| {
        let links = Links::open().unwrap();
        let error = links.ensure_overlay(&overlay(8472)).unwrap_err();
        assert_eq!(error, LinkError::PortTaken { device: "naru-vx".to_owned(), port: 8472 });
        assert_eq!(links.link("naru-vx").unwrap(), None);
        links.ensure_overlay(&overlay(8473)).unwrap();
        let _socket = UdpSocket::bind("0.0.0.0:8474").unwrap();
        assert!(matches!(links.ensure_overlay(&overlay(8474)), Err(LinkError::PortTaken { port: 8474, .. })));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_path_to_an_address_has_the_devices_or_the_routes_mtu() {
    let (node, peer) = (Netns::new(), Netns::new());
    node.run(|| {
        Links::open().unwrap().create_pair(&PairSpec { mtu: 1400, ..spec("under") }, peer.fd()).unwrap()
    });
    peer.sh("ip link set eth0 up");
    node.sh("ip link set under up; ip addr add 198.51.100.1/24 dev under; ip addr add 2001:db8:5::1/64 dev under nodad");
    node.sh("ip route add 203.0.113.0/24 via 198.51.100.2 mtu 1300");
    node.sh("ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8:5::2 proto ra");
    node.run(|| {
        let links = Links::open().unwrap();
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
        let defaults: Vec<_> = links
            .default_routes()
            .unwrap()
            .iter()
            .map(|route| (route.v6, route.from_router_advertisement))
            .collect();
        assert_eq!(defaults, [(false, false), (true, true)]);
        let foreign = links.foreign_routes().unwrap();
        let expected =
            ["198.51.100.0/24", "203.0.113.0/24", "2001:db8:5::/64"].map(|prefix| prefix.parse().unwrap());
        assert_eq!(foreign, expected);
        let held: Vec<IpAddr> = links.addresses().unwrap().iter().map(|address| address.ip).collect();
        assert!(held.contains(&ip("198.51.100.1")) && held.contains(&ip("2001:db8:5::1")), "{held:?}");
    });
    node.sh("ip route del default");
    let error = node.run(|| Links::open().unwrap().path_to(ip("8.8.8.8")).unwrap_err());
    assert_eq!(error.errno(), Some(libc::ENETUNREACH), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_loopback_device_comes_up() {
    let netns = Netns::new();
    loopback_up(netns.fd()).unwrap();
    loopback_up(netns.fd()).unwrap();
    assert!(netns.run(|| Links::open().unwrap().link("lo").unwrap().unwrap().up));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_link_and_a_changed_route_are_noticed() {
    let (node, pod) = (node(), Netns::new());
    let changes = node.run(|| {
        let links = Links::open().unwrap();
        let mut watch = Watch::open().unwrap();
        assert_eq!(watch.next(Some(Duration::from_millis(1))).unwrap(), None);
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
fn the_watching_thread_hands_changes_over_until_nobody_listens() {
    let node = node();
    node.run(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        naru_node::links::watch(move |change| sender.send(change).is_ok()).unwrap();
        Links::open().unwrap().ensure_rule(Rule { from: "10.32.0.0/24".parse().unwrap() }).unwrap();
        // The end of the duplicate detection on the node's own address may come first.
        while receiver.recv_timeout(Duration::from_secs(2)).unwrap() != Change::Rule {}
    });
}
