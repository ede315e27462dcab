//! The same traffic over hosts that others have set up differently, or change while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{process::Command, thread};

use naru_e2e::{
    cni::TestPod,
    counters::Counters,
    lab::{Lab, Node},
    matrix::{self, Check, Path, Plan},
    netns::Netns,
    probe::{
        ping::{self, Answer, Ping},
        tcp,
    },
    tool,
};
use serde_json::json;

fn lab() -> Lab {
    Lab::up("--families dual --underlay dual").unwrap()
}

fn on_each_node(lab: &Lab, lines: &[&str]) {
    for node in &lab.nodes {
        let netns = node.open().unwrap();
        lines.iter().for_each(|line| drop(tool::run(&netns, line).unwrap()));
    }
}

fn carries(lab: &Lab) {
    matrix::must_pass(lab, &Plan::variant()).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_where_the_host_has_strict_reverse_path_filters() {
    let lab = lab();
    on_each_node(
        &lab,
        &[
            "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1",
        ],
    );
    carries(&lab);
    // A pod that comes after the change inherits the strict default.
    let late = TestPod::add(&lab, "n1", "late", &json!({})).unwrap();
    for place in ["p1-1", "p2-1", "n1", "n2", "out"] {
        ping::all_return(&late.host(false).unwrap(), &lab.must_host(place, false).unwrap(), 56, 2).unwrap();
    }
}

/// Applies `lines` on each node, sees that they cut pods off, runs init again, sees that they no longer do.
fn forward_is_opened_again(lines: &[&str]) {
    // An agent might open it before it is seen to be closed.
    let lab = Lab::up("--families dual --underlay dual --no-agent").unwrap();
    on_each_node(&lab, lines);
    let (pod, out) = (lab.must_host("p1-1", false).unwrap(), lab.must_host("out", false).unwrap());
    let cut_off = || ping::once(&pod.netns, out.address, Ping::default()).unwrap() == Answer::Silence;
    assert!(cut_off(), "the variant does nothing: {lines:?}");
    for node in &lab.nodes {
        node.naru("init").unwrap();
    }
    carries(&lab);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_where_nftables_drops_what_is_forwarded() {
    forward_is_opened_again(&[
        "nft add table inet foreign",
        "nft add chain inet foreign forward { type filter hook forward priority 0 ; policy drop ; }",
    ]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_where_iptables_drops_what_is_forwarded() {
    forward_is_opened_again(&["iptables-nft -P FORWARD DROP", "ip6tables-nft -P FORWARD DROP"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_where_legacy_iptables_drops_what_is_forwarded() {
    forward_is_opened_again(&["iptables-legacy -P FORWARD DROP", "ip6tables-legacy -P FORWARD DROP"]);
}

/// Links of `node` whose names begin with naru.
fn our_links(node: &Node) -> Vec<String> {
    let links = tool::run(&node.open().unwrap(), "ip -j link").unwrap();
    let links: Vec<serde_json::Value> = serde_json::from_str(&links).unwrap();
    let names = links.iter().filter_map(|link| link["ifname"].as_str());
    names.filter(|name| name.starts_with("naru")).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_beside_a_foreign_tc_program_on_the_same_devices() {
    let lab = lab();
    for node in &lab.nodes {
        let netns = node.open().unwrap();
        for link in our_links(node) {
            // Pod links have a clsact already; the tunnel device may be attached by tcx and have none.
            let _ = tool::run(&netns, &format!("tc qdisc add dev {link} clsact"));
            for (direction, priority) in
                [("ingress", 7), ("egress", 7), ("ingress", 50_000), ("egress", 50_000)]
            {
                add_onlooker(&netns, &link, direction, priority);
            }
        }
    }
    carries(&lab);
    // Another tool may clean up after itself without taking ours along.
    for node in &lab.nodes {
        for link in our_links(node) {
            tool::run(&node.open().unwrap(), &format!("tc filter del dev {link} ingress prio 7")).unwrap();
        }
    }
    carries(&lab);
}

/// A classic BPF program that looks at every packet and matches none, at `priority`: ahead of ours or behind.
fn add_onlooker(netns: &Netns, link: &str, direction: &str, priority: u32) {
    let mut command = Command::new("tc");
    command.args(["filter", "add", "dev", link, direction, "prio", &priority.to_string()]);
    command.args(["protocol", "all", "bpf", "bytecode", "1,6 0 0 0"]);
    tool::output(netns, &mut command, "").and_then(tool::text).unwrap();
    let shown = tool::run(netns, &format!("tc filter show dev {link} {direction}")).unwrap();
    assert!(shown.contains(&format!("pref {priority} bpf")), "{link} {direction}: {shown}");
}

/// Streams over `path` in both families while `change` is made again and again.
fn streams_during(lab: &Lab, path: Path, change: impl Fn(u8) + Sync) {
    for v6 in [false, true] {
        let (from, to) = path.ends();
        let (from, to) = (lab.must_host(from, v6).unwrap(), lab.must_host(to, v6).unwrap());
        thread::scope(|scope| {
            let stream = scope.spawn(|| tcp::stream(&from, &to, 64 << 20, 64 << 20).unwrap());
            let mut round = 0;
            while !stream.is_finished() || round < 3 {
                change(round);
                round = round.wrapping_add(1);
                thread::sleep(std::time::Duration::from_millis(15));
            }
        });
        ping::all_return(&from, &to, 56, 3).unwrap();
        if !path.is_outward() {
            ping::all_return(&to, &from, 56, 3).unwrap();
        }
    }
}

fn change_mac(netns: &Netns, link: &str, round: u8) {
    tool::run(netns, &format!("ip link set dev {link} address 02:5e:00:00:01:{round:02x}")).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_survive_a_change_of_the_mac_in_the_pod() {
    let lab = lab();
    for path in [Path::PodToPod, Path::PodToRemotePod, Path::NodeToPod, Path::PodToOutside] {
        let pod = lab.must_host("p1-1", false).unwrap().netns;
        streams_during(&lab, path, |round| change_mac(&pod, "eth0", round));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_survive_a_change_of_the_mac_on_the_host_side() {
    let lab = lab();
    let node = lab.node("n1").unwrap();
    let endpoints = node.naru_json("endpoints").unwrap();
    let address = lab.pod("p1-1").unwrap().addresses[0].to_string();
    let link =
        endpoints.as_array().unwrap().iter().find(|entry| entry["address"] == address.as_str()).unwrap();
    let link = link["interface"].as_str().unwrap().to_owned();
    let netns = node.open().unwrap();
    for path in [Path::PodToPod, Path::PodToRemotePod, Path::NodeToPod, Path::PodToOutside] {
        streams_during(&lab, path, |round| change_mac(&netns, &link, round));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_with_tcx_forced_on_the_tunnel_device() {
    carries(&Lab::up("--attach tcx").unwrap());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn traffic_passes_with_clsact_forced_on_the_tunnel_device() {
    let lab = Lab::up("--attach clsact").unwrap();
    let shown =
        tool::run(&lab.node("n1").unwrap().open().unwrap(), "tc filter show dev naru-vx ingress").unwrap();
    assert!(shown.contains("from_overlay"), "no filter on the tunnel device: {shown}");
    carries(&lab);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_with_the_shortcut_off_is_reached_through_the_stack() {
    let lab = lab();
    let pod = TestPod::add(&lab, "n1", "slow", &json!({"naru": {"shortcut": "off"}})).unwrap();
    for v6 in [false, true] {
        let before = Counters::sum(&lab.nodes).unwrap();
        for place in ["p1-1", "p2-1", "n2", "out"] {
            let place = lab.must_host(place, v6).unwrap();
            tcp::stream(&pod.host(v6).unwrap(), &place, 1 << 20, 1 << 20).unwrap();
        }
        let moved = Counters::sum(&lab.nodes).unwrap().since(&before);
        assert!(moved.packets("stack", "no-shortcut") > 100, "{moved:?}");
        assert_eq!(moved.at("from_pod", "verdict", "peer").packets, 0, "{moved:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_over_jumbo_frames() {
    let lab = Lab::up("--families dual --underlay dual --mtu 9000").unwrap();
    // Pings of 8000 bytes go whole here; nothing of the matrix depends on the size but the expected MTU.
    matrix::must_pass(&lab, &Plan { checks: without_too_big(), ..Plan::default() }).unwrap();
}

/// The pod that sends oversized packets is made for links of 1500 bytes.
fn without_too_big() -> Vec<Check> {
    Check::ALL.into_iter().filter(|check| *check != Check::TooBig).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_between_pods_whose_mtu_is_above_the_path_adapt() {
    let lab = lab();
    let big = |node: &str| TestPod::add(&lab, node, "big", &json!({"mtu": 1600})).unwrap();
    let (near, far) = (big("n1"), big("n2"));
    for v6 in [false, true] {
        let before = Counters::sum(&lab.nodes).unwrap();
        let (from, to) = (near.host(v6).unwrap(), far.host(v6).unwrap());
        tcp::stream(&from, &to, 16 << 20, 16 << 20).unwrap();
        let moved = Counters::sum(&lab.nodes).unwrap().since(&before);
        // A few were refused, then the pods knew; later packets took the tunnel.
        assert!(moved.at("from_pod", "stack", "too-big").packets > 0, "{moved:?}");
        assert!(moved.at("from_pod", "verdict", "tunnel").packets > 10_000, "{moved:?}");
        tcp::stream(&from, &lab.must_host("p1-1", v6).unwrap(), 4 << 20, 4 << 20).unwrap();
        tcp::stream(&from, &lab.must_host("out", v6).unwrap(), 4 << 20, 4 << 20).unwrap();
        ping::all_return(&from, &to, 8000, 3).unwrap();
    }
}
