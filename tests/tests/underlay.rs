//! The tunnel's packets on the underlay, and in the rules of others there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use naru_e2e::{
    cni::TestPod,
    counters::Counters,
    lab::{Lab, Node},
    netns::Netns,
    probe::{
        Host,
        ping::{self, Ping},
        tcp, udp,
    },
    tool,
};
use serde_json::json;

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
    count_of(&node.open().unwrap(), name)
}

fn count_of(netns: &Netns, name: &str) -> u64 {
    let text = tool::run(netns, &format!("nft list counter inet witness {name}")).unwrap();
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
            // The counter does see packets that the stack forwards.
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
    chain mark_output {
        type filter hook output priority mangle
        ip daddr 10.32.0.0/12 meta mark set 0x4000 counter name inner
        ip6 daddr fd10:32::/48 meta mark set 0x4000 counter name inner
    }
    chain mark_forward {
        type filter hook forward priority mangle
        ip daddr 10.32.0.0/12 meta mark set 0x4000
        ip6 daddr fd10:32::/48 meta mark set 0x4000
    }
    chain leaves {
        type filter hook postrouting priority 300
        udp dport 8472 counter name outer
        udp dport 8472 meta mark != 0 counter name marked
    }
    chain nat {
        type nat hook postrouting priority 200
        meta mark 0x4000 oifname "eth0" masquerade fully-random
        udp dport 8472 masquerade fully-random
    }
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

/// An overlay of somebody else on the tunnel's port, as flannel makes it, from node `own` to the `other`.
fn add_flannel(node: &Node, own: u8, other: u8) {
    let netns = node.open().unwrap();
    for line in [
        "ip link del naru-vx".to_owned(),
        format!(
            "ip link add flannel.1 type vxlan id 1 dstport 8472 nolearning local 198.51.100.{own} dev eth0"
        ),
        format!("ip address add 10.244.0.{own}/24 dev flannel.1"),
        format!("ip link set flannel.1 address 02:00:00:00:f1:0{own} up"),
        format!("ip neigh add 10.244.0.{other} lladdr 02:00:00:00:f1:0{other} dev flannel.1 nud permanent"),
        format!("bridge fdb add 02:00:00:00:f1:0{other} dev flannel.1 dst 198.51.100.{other}"),
    ] {
        tool::run(&netns, &line).unwrap();
    }
    node.naru("init").unwrap();
    let status = node.naru_json("status").unwrap();
    assert_eq!((&status["tunnel_port"], &status["device_port"]), (&8472.into(), &18472.into()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn another_overlay_on_the_tunnels_port_of_one_node_or_both_goes_on_beside_ours() {
    for mode in TUNNELS {
        let lab = Lab::up(&format!("{mode} --no-agent")).unwrap();
        add_flannel(lab.node("n1").unwrap(), 1, 2);
        carry(&lab);
        add_flannel(lab.node("n2").unwrap(), 2, 1);
        carry(&lab);
        let at = |name: &str, address: &str| Host {
            address: address.parse().unwrap(),
            ..lab.must_host(name, false).unwrap()
        };
        let (near, far) = (at("n1", "10.244.0.1"), at("n2", "10.244.0.2"));
        ping::all_return(&near, &far, 56, 2).unwrap();
        tcp::stream(&near, &far, 4 << 20, 4 << 20).unwrap();
        // A second init keeps the device and its port.
        let index = || tool::run(&near.netns, "ip -o link show naru-vx").unwrap();
        let before = index();
        lab.node("n1").unwrap().naru("init").unwrap();
        assert_eq!(index(), before);
    }
}

/// Puts the outside host between the nodes, as a router that knows the pods' blocks, and lets each node look again.
fn route_through_outside(lab: &Lab) {
    let out = lab.must_host("out", false).unwrap().netns;
    let forward = "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1";
    let redirects = "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0";
    tool::run(&out, &format!("sysctl -qw {forward} {redirects}")).unwrap();
    for (own, other) in [("n1", 2), ("n2", 1)] {
        let node = lab.node(own).unwrap();
        let netns = node.open().unwrap();
        tool::run(&netns, &format!("ip route add 198.51.100.{other}/32 via 198.51.100.254")).unwrap();
        tool::run(&netns, &format!("ip -6 route add 2001:db8:1::{other}/128 via 2001:db8:1::fe")).unwrap();
        for block in &node.blocks {
            let via =
                node.addresses.iter().find(|address| address.is_ipv4() == block.addr().is_ipv4()).unwrap();
            tool::run(&out, &format!("ip route add {block} via {via}")).unwrap();
        }
        node.naru("init").unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_gateway_with_a_new_mac_costs_one_packet_at_most_without_any_agent() {
    for mode in TUNNELS.into_iter().chain(["--routing direct --underlay dual"]) {
        let lab = Lab::up(&format!("{mode} --no-agent")).unwrap();
        route_through_outside(&lab);
        let out = lab.must_host("out", false).unwrap().netns;
        for (round, v6) in [(1, false), (2, true)] {
            let host = |name: &str| lab.must_host(name, v6).unwrap();
            let (from, to) = (host("p1-1"), host("p2-1"));
            ping::all_return(&from, &to, 56, 3).unwrap();
            // No ping is under way meanwhile: those lost between two tools would be the test's own.
            tool::run(&out, &format!("ip link set eth0 address 02:5e:00:00:02:{round:02x}")).unwrap();
            for node in &lab.nodes {
                tool::run(&node.open().unwrap(), "ip neigh flush dev eth0").unwrap();
            }
            let pace = Duration::from_millis(50);
            let lost = ping::lost(&from.netns, to.address, Ping::default(), 20, pace).unwrap();
            assert!(lost <= 1, "{mode}, IPv6 {v6}: {lost} of 20 lost");
        }
    }
}

/// Counts tunnel packets that the outside host forwards, by the interface (that is, the gateway) at which they came.
const GATEWAYS: &str = r#"
table inet witness {
    counter first {}
    counter second {}
    chain forward {
        type filter hook forward priority 0
        iifname "eth0" udp dport 8472 counter name first
        iifname "second" udp dport 8472 counter name second
    }
}
"#;

/// Makes the outside host two gateways, each with a MAC address of its own.
fn add_gateways(out: &Netns) {
    for line in [
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.arp_ignore=1",
        "sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0",
        "ip link add second link eth0 type macvlan mode bridge",
        "ip address add 198.51.100.253/32 dev second",
        "ip address add 2001:db8:1::fd/128 dev second nodad",
        "ip link set second up",
    ] {
        tool::run(out, line).unwrap();
    }
    tool::with_input(out, "nft -f -", GATEWAYS).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn another_route_to_a_node_is_taken_at_once_without_any_agent() {
    for mode in TUNNELS {
        let lab = Lab::up(&format!("{mode} --no-agent")).unwrap();
        let out = lab.must_host("out", false).unwrap().netns;
        add_gateways(&out);
        let node = lab.node("n1").unwrap().open().unwrap();
        let route = |change: &str, gateway: [&str; 2]| {
            for (family, to, gateway) in
                [("-4", "198.51.100.2", gateway[0]), ("-6", "2001:db8:1::2", gateway[1])]
            {
                tool::run(&node, &format!("ip {family} route {change} {to} {gateway}")).unwrap();
            }
        };
        let (from, to) = (lab.must_host("p1-1", false).unwrap(), lab.must_host("p2-1", false).unwrap());
        ping::all_return(&from, &to, 56, 3).unwrap();
        let done = AtomicBool::new(false);
        let taken = || ["first", "second"].map(|name| count_of(&out, name));
        // Which of the gateways packets came to within a while.
        let ways = || {
            let before = taken();
            thread::sleep(Duration::from_millis(300));
            let after = taken();
            [after[0] > before[0], after[1] > before[1]]
        };
        let lost = thread::scope(|scope| {
            let pings = scope.spawn(|| {
                let mut lost = 0;
                while !done.load(Ordering::Relaxed) {
                    let pace = Duration::from_millis(20);
                    lost += ping::lost(&from.netns, to.address, Ping::default(), 10, pace).unwrap();
                }
                lost
            });
            let mut settled = vec![ways() == [false, false]];
            for (change, gateway, wanted) in [
                ("add", ["via 198.51.100.254", "via 2001:db8:1::fe"], [true, false]),
                (
                    "replace",
                    ["via 198.51.100.253 dev eth0 onlink", "via 2001:db8:1::fd dev eth0"],
                    [false, true],
                ),
                ("del", ["", ""], [false, false]),
            ] {
                route(change, gateway);
                settled.push(tool::holds_within(Duration::from_secs(5), || ways() == wanted));
            }
            done.store(true, Ordering::Relaxed);
            assert_eq!(settled, [true; 4], "{mode}: on the link, first gateway, second, on the link");
            pings.join().unwrap()
        });
        assert!(lost <= 3, "{mode}: {lost} lost by three changes");
    }
}

/// Replaces the cluster file of every node, and lets it follow.
fn rewrite_cluster(lab: &Lab, change: impl Fn(&str) -> String) {
    for node in &lab.nodes {
        let file = node.root.join("config/cluster.toml");
        let text = fs::read_to_string(&file).unwrap();
        let changed = change(&text);
        assert_ne!(changed, text);
        fs::write(&file, changed).unwrap();
        node.naru("init").unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_node_that_sends_directly_and_one_that_does_not_understand_each_other() {
    for encapsulation in ["auto", "device"] {
        let options = format!("--routing auto --encapsulation {encapsulation} --underlay dual --no-agent");
        let lab = Lab::up(&options).unwrap();
        for node in &lab.nodes {
            let strict = "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1";
            tool::run(&node.open().unwrap(), strict).unwrap();
        }
        let own = "name = \"n2\"";
        rewrite_cluster(&lab, |text| text.replace(own, &format!("{own}\nrouting = \"tunnel\"")));
        let before = Counters::sum(&lab.nodes).unwrap();
        carry(&lab);
        let slow = TestPod::add(&lab, "n2", "slow", &json!({"naru": {"shortcut": "off"}})).unwrap();
        for v6 in [false, true] {
            let pod = lab.must_host("p1-1", v6).unwrap();
            ping::all_return(&pod, &slow.host(v6).unwrap(), 2000, 2).unwrap();
            tcp::stream(&pod, &slow.host(v6).unwrap(), 1 << 20, 1 << 20).unwrap();
        }
        let moved = Counters::sum(&lab.nodes).unwrap().since(&before);
        let tunnelled = if encapsulation == "auto" { "encapsulated" } else { "tunnel" };
        for label in ["direct", tunnelled] {
            assert!(moved.at("from_pod", "verdict", label).packets > 1000, "{label}: {moved}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn direct_routing_passes_hosts_that_drop_what_is_forwarded_and_pods_whose_shortcut_is_off() {
    let lab = Lab::up("--routing direct --underlay dual --no-agent").unwrap();
    for node in &lab.nodes {
        let netns = node.open().unwrap();
        tool::run(&netns, "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1").unwrap();
        let drop =
            "table inet foreign {\nchain forward { type filter hook forward priority 0; policy drop; }\n}\n";
        tool::with_input(&netns, "nft -f -", drop).unwrap();
        node.naru("init").unwrap();
    }
    let add = |node: &str| TestPod::add(&lab, node, "slow", &json!({"naru": {"shortcut": "off"}})).unwrap();
    let (near, far) = (add("n1"), add("n2"));
    for v6 in [false, true] {
        let (near, far) = (near.host(v6).unwrap(), far.host(v6).unwrap());
        let fast = lab.must_host("p2-1", v6).unwrap();
        for (from, to) in [(&near, &far), (&near, &fast), (&fast, &near)] {
            ping::all_return(from, to, 8000, 2).unwrap();
            // No address was translated on the way.
            let report = tcp::stream(from, to, 1 << 20, 1 << 20).unwrap();
            assert_eq!(report.peer.ip(), from.address);
        }
    }
    carry(&lab);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_beside_foreign_programs_on_the_uplink() {
    for mode in [
        "--routing tunnel --attach tcx",
        "--routing tunnel --attach clsact",
        "--routing direct --attach clsact",
    ] {
        let lab = Lab::up(&format!("{mode} --encapsulation auto --underlay dual")).unwrap();
        for node in &lab.nodes {
            let netns = node.open().unwrap();
            // There is one already where ours are filters.
            let _ = tool::run(&netns, "tc qdisc add dev eth0 clsact");
            for (direction, priority) in
                [("ingress", "7"), ("egress", "7"), ("ingress", "50000"), ("egress", "50000")]
            {
                let mut filter = Command::new("tc");
                filter.args(["filter", "add", "dev", "eth0", direction, "prio", priority]);
                filter.args(["protocol", "all", "bpf", "bytecode", "1,6 0 0 0"]);
                tool::output(&netns, &mut filter, "").and_then(tool::text).unwrap();
            }
        }
        let before = Counters::sum(&lab.nodes).unwrap();
        carry(&lab);
        let moved = Counters::sum(&lab.nodes).unwrap().since(&before);
        assert!(moved.at("from_underlay", "verdict", "peer").packets > 100, "{mode}: {moved}");
        let told = lab.node("n1").unwrap().naru("status").unwrap();
        assert!(told.contains("eth0 ingress: after ours: "), "{mode}: {told}");
    }
}
