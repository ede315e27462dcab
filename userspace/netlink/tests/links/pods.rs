//! Pairs and pods.

use super::scene::MARKS;
use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use naru_netlink::links::{
    HostSide, LinkError, Links, Neighbour, PairSpec, PodAddress, PodRouteFact, PodSide, loopback_up,
    pod_facts, wire_pod,
};

use super::scene::{ALIAS, HOST_MAC, NODE, Netns, POD, POD_MAC, attach, default_routes, ip, node, spec};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_new_pair_is_down_and_carries_alias_mac_and_mtu_from_its_birth() {
    let (node, pod) = (node(), Netns::new());
    let link = node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = links.create_pair(&spec("naruaa"), pod.fd()).unwrap();
        assert_eq!(links.link("naruaa").unwrap().unwrap().index, index);
        links.link_at(index).unwrap().unwrap()
    });
    assert_eq!((link.alias.as_str(), link.mac, link.mtu, link.up), (ALIAS, Some(HOST_MAC), 1450, false));
    let facts = pod_facts(pod.fd(), "eth0", MARKS).unwrap().unwrap();
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
    node.run(|| attach(&Links::open(MARKS).unwrap(), &pod, "naruaa").unwrap());
    let facts = pod_facts(pod.fd(), "eth0", MARKS).unwrap().unwrap();
    let addresses: Vec<_> = facts.addresses.iter().map(|a| (a.ip, a.prefix_len, a.unsettled)).collect();
    assert_eq!(addresses, [(ip(POD[0]), 32, false), (ip(POD[1]), 128, false)]);
    let gateways = MARKS.gateways.both();
    let expected = gateways.map(|ip| Neighbour { index: facts.link.index, ip, mac: HOST_MAC });
    assert_eq!(facts.neighbours, expected);
    for gateway in gateways {
        let by = |route: &PodRouteFact| route.gateway == Some(gateway) && route.mtu == Some(1430);
        assert!(
            facts.routes.iter().any(|route| by(route) && route.destination.prefix_len() == 0),
            "{facts:?}"
        );
        let on_link = |route: &PodRouteFact| route.destination.addr() == gateway;
        assert!(facts.routes.iter().any(|route| on_link(route) && route.gateway.is_none()), "{facts:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_address_of_a_pod_is_ever_tentative_and_its_sysctls_are_set() {
    let (node, pod) = (node(), Netns::new());
    pod.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    node.run(|| attach(&Links::open(MARKS).unwrap(), &pod, "naruaa").unwrap());
    // The link-local address, which is not ours, comes when the kernel's link watch has seen the carrier, and is
    // tentative until a work queue finds that nothing is to be detected.
    let start = Instant::now();
    loop {
        let tentative = pod.sh("ip -o addr show tentative");
        assert!(tentative.lines().all(|line| line.contains("inet6 fe80::")), "{tentative}");
        if tentative.is_empty() && pod.sh("ip -o addr show").contains("inet6 fe80::") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no link-local address of use: {tentative}");
    }
    let read = |key: &str| pod.sh(&format!("cat /proc/sys/net/{key}")).trim().to_owned();
    let keys = ["disable_ipv6", "accept_dad", "accept_ra", "ndisc_notify"];
    assert_eq!(keys.map(|key| read(&format!("ipv6/conf/eth0/{key}"))), ["0", "0", "0", "1"]);
    assert_eq!(read("ipv4/conf/eth0/arp_notify"), "1");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pods_first_packet_and_the_answer_to_it_arrive_in_both_families() {
    for round in 0..10 {
        let (node, pod) = (node(), Netns::new());
        let servers = node.run(|| NODE.map(|node_ip| UdpSocket::bind((ip(node_ip), 0)).unwrap()));
        node.run(|| attach(&Links::open(MARKS).unwrap(), &pod, "naruaa").unwrap());
        for (server, pod_ip) in servers.iter().zip(POD) {
            let client = pod.run(|| UdpSocket::bind((ip(pod_ip), 0)).unwrap());
            for socket in [server, &client] {
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            }
            client.send_to(b"ping", server.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 8];
            let (_, from) =
                server.recv_from(&mut buffer).unwrap_or_else(|e| panic!("round {round}, {pod_ip}: {e}"));
            assert_eq!(from.ip(), ip(pod_ip));
            server.send_to(b"pong", from).unwrap();
            let answer = client.recv_from(&mut buffer);
            assert_eq!(answer.unwrap_or_else(|e| panic!("round {round}, to {pod_ip}: {e}")).0, 4);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn twenty_pods_are_wired_and_deleted_in_turn_and_their_times_printed() {
    let node = node();
    let (mut wired, mut deleted) = (Vec::new(), Vec::new());
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        for number in 0..20 {
            let (pod, name) = (Netns::new(), format!("naru{number:x}"));
            let start = Instant::now();
            attach(&links, &pod, &name).unwrap();
            wired.push(start.elapsed());
            let start = Instant::now();
            assert!(links.delete_host_veth(&name).unwrap());
            deleted.push(start.elapsed());
        }
    });
    wired.sort_unstable();
    deleted.sort_unstable();
    println!(
        "wiring a dual-stack pod: p50 {:?}, max {:?}; deletion p50 {:?}",
        wired[10], wired[19], deleted[10]
    );
    node.run(|| assert!(Links::open(MARKS).unwrap().host_veths().unwrap().is_empty()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn wiring_twice_changes_nothing() {
    let (node, pod) = (node(), Netns::new());
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        let index = attach(&links, &pod, "naruaa").unwrap();
        let before = (
            pod_facts(pod.fd(), "eth0", MARKS).unwrap(),
            links.routes().unwrap(),
            links.neighbours(index).unwrap(),
        );
        let addresses = POD.map(ip);
        let routes = default_routes();
        let (name, gateway_mac, subnets) = ("eth0", HOST_MAC, &[][..]);
        let side = PodSide { name, gateway_mac, addresses: &addresses, routes: &routes, subnets };
        wire_pod(pod.fd(), &side, MARKS).unwrap();
        let addresses = [0, 1].map(|i| PodAddress { ip: ip(POD[i]), source: Some(ip(NODE[i])) });
        let side = HostSide { name: "naruaa", index, mtu: 1450, pod_mac: POD_MAC, addresses: &addresses };
        links.activate(&side).unwrap();
        let after = (
            pod_facts(pod.fd(), "eth0", MARKS).unwrap(),
            links.routes().unwrap(),
            links.neighbours(index).unwrap(),
        );
        assert_eq!(before, after);
        assert_eq!(after.1.len(), 4, "a route of each family, and its spare");
        assert_eq!(after.2.len(), 2);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn only_our_own_veth_is_listed_and_deleted_and_twice_is_no_error() {
    let (node, pod) = (node(), Netns::new());
    node.sh("ip link add theirs type veth peer name theirs2; ip link add br0 type bridge");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
        attach(&links, &pod, "naruaa").unwrap();
        let names: Vec<String> = links.host_veths().unwrap().into_iter().map(|veth| veth.name).collect();
        assert_eq!(names, ["naruaa"]);
        assert!(matches!(links.delete_host_veth("theirs"), Err(LinkError::Foreign { .. })));
        assert!(matches!(links.delete_host_veth("br0"), Err(LinkError::Foreign { .. })));
        assert!(links.delete_host_veth("naruaa").unwrap());
        assert!(!links.delete_host_veth("naruaa").unwrap());
        assert!(links.routes().unwrap().is_empty());
    });
    assert_eq!(pod_facts(pod.fd(), "eth0", MARKS).unwrap(), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_taken_name_is_told_and_leaves_both_namespaces_as_they_were() {
    let (node, pod) = (node(), Netns::new());
    node.sh("ip link add naruaa type bridge; ip link set naruaa alias theirs");
    pod.sh("ip link add eth0 type bridge");
    node.run(|| {
        let links = Links::open(MARKS).unwrap();
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
        Links::open(MARKS).unwrap().create_pair(&spec, pod.fd()).unwrap_err()
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
        let links = Links::open(MARKS).unwrap();
        assert!(links.create_pair(&PairSpec { alias: &alias, ..spec("naruaa") }, pod.fd()).is_err());
        assert_eq!(links.link("naruaa").unwrap(), None);
    });
    assert_eq!(pod_facts(pod.fd(), "eth0", MARKS).unwrap(), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_loopback_device_comes_up() {
    let netns = Netns::new();
    loopback_up(netns.fd(), MARKS).unwrap();
    loopback_up(netns.fd(), MARKS).unwrap();
    assert!(netns.run(|| Links::open(MARKS).unwrap().link("lo").unwrap().unwrap().up));
}
