//! What the underlay sees of the tunnel, and what others' rules there see.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use naru_e2e::{
    lab::{Lab, Node},
    probe::{ping, tcp, udp},
    tool,
};

/// Both ways into the tunnel, over an underlay of either family.
const TUNNELS: [&str; 4] = [
    "--routing tunnel --encapsulation device --underlay dual",
    "--routing tunnel --encapsulation device --underlay dual-v6",
    "--routing tunnel --encapsulation auto --underlay dual",
    "--routing tunnel --encapsulation auto --underlay dual-v6",
];

/// Streams, datagrams and pings between pods, and between nodes and pods, of both families.
fn carry(lab: &Lab) {
    for v6 in [false, true] {
        let host = |name: &str| lab.must_host(name, v6).unwrap();
        for (from, to) in [("p1-1", "p2-1"), ("n1", "p2-1"), ("p1-1", "n2")] {
            ping::all_return(&host(from), &host(to), 56, 2).unwrap();
            udp::echo(&host(from), &host(to), &[1, 1400, 5000]).unwrap();
            tcp::stream(&host(from), &host(to), 16 << 20, 4 << 20).unwrap();
        }
    }
}

fn on_each(lab: &Lab, script: &str) {
    for node in &lab.nodes {
        tool::with_input(&node.open().unwrap(), "nft -f -", script).unwrap();
    }
}

/// Packets of the named counter of the table `inet witness`.
fn counted(node: &Node, name: &str) -> u64 {
    let text = tool::run(&node.open().unwrap(), &format!("nft list counter inet witness {name}")).unwrap();
    let packets = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    packets.unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_tunnel_packet_is_a_flow_of_conntrack() {
    for mode in TUNNELS {
        let lab = Lab::up(mode).unwrap();
        carry(&lab);
        ping::all_return(
            &lab.must_host("p1-1", false).unwrap(),
            &lab.must_host("out", false).unwrap(),
            56,
            1,
        )
        .unwrap();
        for node in &lab.nodes {
            let flows = tool::run(&node.open().unwrap(), "cat /proc/net/nf_conntrack").unwrap();
            assert!(!flows.contains("port=8472"), "{mode}: {}: {flows}", node.name);
            // It does see what the stack forwards.
            assert!(node.name != "n1" || flows.contains("icmp"), "{mode}: {flows}");
        }
    }
}

/// Marks whatever is addressed to a pod, as kube-proxy does before it masquerades, and masquerades whatever leaves with
/// a mark or by the uplink; counts what would show a mark on the outside.
const MARKING: &str = r#"
table inet witness {
    counter inner {}
    counter outer {}
    counter marked {}
    chain mark_output { type filter hook output priority mangle; ip daddr 10.32.0.0/12 meta mark set 0x4000 counter name inner; ip6 daddr fd10:32::/48 meta mark set 0x4000 counter name inner; }
    chain mark_forward { type filter hook forward priority mangle; ip daddr 10.32.0.0/12 meta mark set 0x4000; ip6 daddr fd10:32::/48 meta mark set 0x4000; }
    chain leaves { type filter hook postrouting priority 300; udp dport 8472 counter name outer; udp dport 8472 meta mark != 0 counter name marked; }
    chain nat { type nat hook postrouting priority 200; meta mark 0x4000 oifname "eth0" masquerade fully-random; udp dport 8472 masquerade fully-random; }
}
table netdev witness {
    chain egress { type filter hook egress device "eth0" priority 0; udp dport 8472 meta mark != 0 drop; }
}
"#;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn marks_of_inner_packets_do_not_reach_the_outer_ones_and_nobody_translates_those() {
    for mode in TUNNELS {
        let lab = Lab::up(mode).unwrap();
        on_each(&lab, MARKING);
        carry(&lab);
        let node = lab.node("n1").unwrap();
        assert!(counted(node, "inner") > 0, "{mode}: nothing was marked");
        assert!(counted(node, "outer") > 0, "{mode}: nothing went through the tunnel device");
        for node in &lab.nodes {
            assert_eq!(counted(node, "marked"), 0, "{mode}: {}", node.name);
        }
    }
}
