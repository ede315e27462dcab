//! Kind 5: a netlink attribute that is not understood is taken for absent. An unknown next hop is never on-link.

use std::net::IpAddr;

use naru_netlink::links::{Links, NextHop};

use super::scene::{MARKS, Netns, ip};

/// `u0` and `u1`, veths with 198.51.1.1/24 and 198.51.2.1/24, and the same of 2001:db8:1:: and 2001:db8:2::.
fn two_uplinks() -> Netns {
    let node = Netns::new();
    for (device, net) in [("u0", 1), ("u1", 2)] {
        node.sh(&format!("ip link add {device} type veth peer name far{net}; ip link set far{net} up"));
        node.sh(&format!("ip link set {device} up; ip addr add 198.51.{net}.1/24 dev {device}"));
        node.sh(&format!("ip addr add 2001:db8:{net}::1/64 dev {device} nodad"));
    }
    node
}

/// The expected next hop of a row's destination: on its link, a router of that address, or unknown.
#[derive(Clone, Copy)]
enum Expected {
    OnLink,
    Router(&'static str),
    Unknown,
}

impl Expected {
    fn next(self) -> NextHop {
        match self {
            Self::OnLink => NextHop::OnLink,
            Self::Router(router) => NextHop::Router(ip(router)),
            Self::Unknown => NextHop::Unknown,
        }
    }
}

use Expected::{OnLink, Router, Unknown};

const V6: &str = "2001:db8:1::fe";

/// Commands that make the route to the destination, the next hop, and the interfaces.
const TABLE: [(&str, &str, Expected, &[&str]); 15] = [
    ("true", "198.51.1.9", OnLink, &["u0"]),
    ("ip route add 203.0.113.1 via 198.51.1.254", "203.0.113.1", Router("198.51.1.254"), &["u0"]),
    ("ip route add 203.0.113.1 dev u0", "203.0.113.1", OnLink, &["u0"]),
    ("ip route add 203.0.113.1 via inet6 2001:db8:1::fe dev u0", "203.0.113.1", Router(V6), &["u0"]),
    ("ip route add 203.0.113.1 via inet6 fe80::5 dev u1", "203.0.113.1", Router("fe80::5"), &["u1"]),
    (
        "ip nexthop add id 7 via 198.51.2.254 dev u1; ip route add 203.0.113.1 nhid 7",
        "203.0.113.1",
        Router("198.51.2.254"),
        &["u1"],
    ),
    ("ip nexthop add id 7 dev u1; ip route add 203.0.113.1 nhid 7", "203.0.113.1", OnLink, &["u1"]),
    (
        "ip nexthop add id 7 via 2001:db8:1::fe dev u0; ip route add 203.0.113.1 nhid 7",
        "203.0.113.1",
        Router(V6),
        &["u0"],
    ),
    (
        "ip nexthop add id 7 via 198.51.1.254 dev u0; ip nexthop add id 8 via 198.51.2.254 dev u1; \
         ip nexthop add id 9 group 7/8; ip route add 203.0.113.1 nhid 9",
        "203.0.113.1",
        Router("198.51."),
        &["u0", "u1"],
    ),
    (
        "ip nexthop add id 7 via 2001:db8:1::fe dev u0; ip nexthop add id 8 via 2001:db8:2::fe dev u1; \
         ip nexthop add id 9 group 7/8; ip -6 route add 2001:db8:ff::1 nhid 9",
        "2001:db8:ff::1",
        Router("2001:db8:"),
        &["u0", "u1"],
    ),
    (
        "ip route add 203.0.113.1 nexthop via 198.51.1.254 nexthop via inet6 2001:db8:2::fe dev u1",
        "203.0.113.1",
        Router(""),
        &["u0", "u1"],
    ),
    (
        "ip route add 203.0.113.1 nexthop dev u0 nexthop via 198.51.2.254",
        "203.0.113.1",
        Unknown,
        &["u0", "u1"],
    ),
    ("ip route add 203.0.113.1 nexthop dev u0 nexthop dev u1", "203.0.113.1", OnLink, &["u0", "u1"]),
    ("ip route add 203.0.113.1 encap ip id 5 dst 198.51.1.9 dev u0", "203.0.113.1", Unknown, &["u0"]),
    (
        "ip -6 route add 2001:db8:ff::1 encap ip6 id 5 dst 2001:db8:1::9 dev u0",
        "2001:db8:ff::1",
        Unknown,
        &["u0"],
    ),
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_form_of_next_hop_is_understood_or_unknown_and_never_taken_for_on_link() {
    for compatible in ["1", "0"] {
        for (setup, to, expected, devices) in TABLE {
            let node = two_uplinks();
            // Without it the kernel lists the object that a route names, and not the object's hops.
            node.sh(&format!("sysctl -qw net.ipv4.nexthop_compat_mode={compatible}"));
            node.sh(setup);
            let path = node.run(|| Links::open(MARKS).unwrap().path_to(ip(to)).unwrap());
            let names: Vec<&str> = path.hops.values().map(String::as_str).collect();
            assert_eq!(names, devices, "{setup}");
            match expected {
                // Of several hops the kernel names the one that it would take.
                Router(prefix) if prefix.parse::<IpAddr>().is_err() => {
                    let router = path.next.router().map(|router| router.to_string()).unwrap_or_default();
                    assert!(router.starts_with(prefix) && !router.is_empty(), "{setup}: {router}");
                }
                expected => assert_eq!(path.next, expected.next(), "{setup}"),
            }
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_route_of_others_that_cannot_be_read_as_ours_is_not_taken_for_one_of_ours() {
    let node = two_uplinks();
    let proto = MARKS.protocol;
    node.sh(&format!("ip route add 203.0.113.1 via inet6 fe80::5 dev u0 proto {proto}"));
    node.sh(&format!("ip route add 203.0.113.2 encap ip id 5 dst 198.51.1.9 dev u0 proto {proto}"));
    let routes = node.run(|| Links::open(MARKS).unwrap().routes().unwrap());
    assert!(routes.iter().all(|route| !format!("{:?}", route.target).contains("Device")), "{routes:?}");
}
