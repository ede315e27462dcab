//! The probes themselves, over a plain Linux router: they pass where they should, and fail where they should.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{net::IpAddr, thread, time::Duration};

use naru_e2e::{
    netns::Scratch,
    probe::{
        Host,
        forge::{Listener, send_frames},
        fragments, path_mtu,
        ping::{self, Answer, Ping},
        raw::{self, Fidelity},
        tcp, trace, udp,
    },
    tool,
    wire::ethernet,
};

/// Two hosts and a router between them.
struct Network {
    near: Scratch,
    router: Scratch,
    far: Scratch,
}

impl Network {
    fn new(name: &str) -> Self {
        let scratch =
            |part: &str| Scratch::create(&format!("pr{}{name}-{part}", std::process::id())).unwrap();
        let network = Self { near: scratch("a"), router: scratch("r"), far: scratch("b") };
        for (host, number) in [(&network.near, 1), (&network.far, 2)] {
            let router = network.router.netns();
            let name = host.netns().name();
            tool::run(router, &format!("ip link add e{number} type veth peer name eth0 netns {name}"))
                .unwrap();
            tool::run(router, &format!("ip link set e{number} up")).unwrap();
            tool::run(host.netns(), "ip link set eth0 up").unwrap();
            for (prefix, length) in [("10.99.", 24), ("fd99:0:0:", 64)] {
                let address = |host: u8| {
                    if length == 24 {
                        format!("{prefix}{number}.{host}")
                    } else {
                        format!("{prefix}{number}::{host}")
                    }
                };
                let nodad = if length == 64 { "nodad" } else { "" };
                tool::run(router, &format!("ip addr add {}/{length} dev e{number} {nodad}", address(1)))
                    .unwrap();
                tool::run(host.netns(), &format!("ip addr add {}/{length} dev eth0 {nodad}", address(9)))
                    .unwrap();
                tool::run(host.netns(), &format!("ip route add default via {}", address(1))).unwrap();
            }
        }
        tool::run(network.router.netns(), "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
            .unwrap();
        network.settle();
        network
    }

    /// The kernel lets packets through a new link only after it has looked at its carrier, up to a second later.
    fn settle(&self) {
        for v6 in [false, true] {
            let (near, far) = self.ends(v6);
            let ping = Ping { timeout: Duration::from_millis(50), ..Ping::default() };
            let passes = || matches!(ping::once(&near.netns, far.address, ping), Ok(Answer::Reply { .. }));
            assert!(
                tool::holds_within(Duration::from_secs(20), passes),
                "the network never carries anything"
            );
        }
    }

    fn router(&self, v6: bool) -> IpAddr {
        if v6 { "fd99:0:0:1::1".parse().unwrap() } else { "10.99.1.1".parse().unwrap() }
    }

    fn ends(&self, v6: bool) -> (Host, Host) {
        let host = |scratch: &Scratch, number: u8| Host {
            name: scratch.netns().name().to_owned(),
            netns: scratch.netns().clone(),
            address: if v6 { format!("fd99:0:0:{number}::9") } else { format!("10.99.{number}.9") }
                .parse()
                .unwrap(),
        };
        (host(&self.near, 1), host(&self.far, 2))
    }

    fn nft(&self, rules: &str) {
        tool::with_input(self.router.netns(), "nft -f -", &format!("{rules}\n")).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_probe_passes_over_a_plain_router() {
    let network = Network::new("ok");
    for v6 in [false, true] {
        let (near, far) = network.ends(v6);
        ping::all_return(&near, &far, 56, 3).unwrap();
        ping::all_return(&near, &far, 8000, 3).unwrap();
        let report = tcp::stream(&near, &far, 1 << 20, 1 << 18).unwrap();
        assert_eq!(report.peer.ip(), near.address);
        udp::echo(&near, &far, &[1, 1472, 1473, 20_000]).unwrap();
        fragments::echo_shuffled(&near, &far).unwrap();
        raw::sctp(&near, &far, Fidelity::Exact).unwrap();
        raw::gre(&near, &far).unwrap();
        assert_eq!(trace::route(&near, &far).unwrap(), [network.router(v6), far.address]);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_smaller_link_behind_the_router_is_told_with_its_mtu() {
    let network = Network::new("mtu");
    tool::run(network.router.netns(), "ip link set e2 mtu 1300").unwrap();
    for v6 in [false, true] {
        let (near, far) = network.ends(v6);
        let ping = Ping { data: 1400, dont_fragment: true, ..Ping::default() };
        let answer = ping::once(&near.netns, far.address, ping).unwrap();
        assert_eq!(answer, Answer::TooBig { from: network.router(v6), mtu: 1300 });
        assert_eq!(path_mtu::refusing(&near, &far, 1400).unwrap(), Some(1300));
        assert_eq!(path_mtu::refusing(&near, &far, 1000).unwrap(), None);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_probe_fails_when_the_router_drops_its_traffic() {
    let network = Network::new("no");
    network.nft("table inet t { chain f { type filter hook forward priority 0; policy drop; }; }");
    let probes: [fn(&Host, &Host) -> bool; 8] = [
        |near, far| ping::all_return(near, far, 56, 1).is_err(),
        |near, far| ping::once(&near.netns, far.address, Ping::default()).unwrap() == Answer::Silence,
        |near, far| tcp::stream(near, far, 1000, 0).is_err(),
        |near, far| udp::echo(near, far, &[10]).is_err(),
        |near, far| fragments::echo_shuffled(near, far).is_err(),
        |near, far| raw::sctp(near, far, Fidelity::Exact).is_err(),
        |near, far| raw::gre(near, far).is_err(),
        |near, far| trace::route(near, far).is_err(),
    ];
    thread::scope(|scope| {
        for (number, fails) in probes.iter().enumerate() {
            for v6 in [false, true] {
                let (near, far) = network.ends(v6);
                scope.spawn(move || assert!(fails(&near, &far), "probe {number}, IPv6 {v6}"));
            }
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_fragment_dropped_on_the_way_is_noticed() {
    let network = Network::new("frag");
    // Without conntrack the router sees fragments; the ones with an offset are dropped.
    network.nft(
        "table ip t { chain f { type filter hook forward priority 0; ip frag-off & 0x1fff != 0 drop; }; }",
    );
    let (near, far) = network.ends(false);
    fragments::echo_shuffled(&near, &far).unwrap_err();
    ping::all_return(&near, &far, 8000, 1).unwrap_err();
    ping::all_return(&near, &far, 56, 1).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn masquerade_is_noticed() {
    let network = Network::new("nat");
    network
        .nft("table inet t { chain p { type nat hook postrouting priority 100; oifname e2 masquerade; }; }");
    for v6 in [false, true] {
        let (near, far) = network.ends(v6);
        let report = tcp::stream(&near, &far, 100_000, 100_000).unwrap();
        assert_ne!(report.peer.ip(), near.address);
        raw::sctp(&near, &far, Fidelity::Ports).unwrap();
        raw::gre(&near, &far).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_listener_counts_the_frames_that_carry_its_mark() {
    let network = Network::new("lst");
    let marked = ethernet::frame([0xff; 6], [2, 0, 0, 0, 0, 9], 0x88b5, b"abc-marker-def");
    let other = ethernet::frame([0xff; 6], [2, 0, 0, 0, 0, 9], 0x88b5, b"something else");
    let listener = Listener::start(network.router.netns(), "e1", b"marker").unwrap();
    send_frames(network.near.netns(), "eth0", &[marked.clone(), other, marked]).unwrap();
    assert_eq!(listener.stop().unwrap(), 2);
}
