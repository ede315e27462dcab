//! The traffic matrix over every combination of families, and a gigabyte over every path.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use naru_e2e::{
    lab::Lab,
    matrix::{self, CellResult, Path, Plan, Row},
    offload::{self, Offload},
    tool,
};

/// Counts what a node forwards, apart from naru's own tables.
const FORWARD_COUNTER: &str =
    "table inet witness { chain forward { type filter hook forward priority -400; counter; }; }\n";

fn full(options: &str) -> Vec<Row> {
    let lab = Lab::up(options).unwrap();
    matrix::must_pass(&lab, &Plan::default()).unwrap()
}

fn passed(rows: &[Row], v6: bool) -> usize {
    rows.iter()
        .map(|row| if v6 { &row.v6 } else { &row.v4 })
        .filter(|cell| cell.result == CellResult::Passed)
        .count()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_in_both_families() {
    let rows = full("--families dual --underlay dual");
    assert_eq!((passed(&rows, false), passed(&rows, true)), (80, 80));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_with_ipv4_alone() {
    let rows = full("--families v4 --underlay v4");
    assert_eq!((passed(&rows, false), passed(&rows, true)), (80, 0));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_with_ipv6_alone() {
    let rows = full("--families v6 --underlay v6");
    assert_eq!((passed(&rows, false), passed(&rows, true)), (0, 80));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_in_both_families_through_a_tunnel_over_ipv6() {
    let rows = full("--families dual --underlay dual-v6");
    assert_eq!((passed(&rows, false), passed(&rows, true)), (80, 80));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_with_own_encapsulation_over_either_family() {
    for underlay in ["dual", "dual-v6"] {
        let rows = full(&format!("--encapsulation auto --families dual --underlay {underlay}"));
        assert_eq!((passed(&rows, false), passed(&rows, true)), (80, 80), "{underlay}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_matrix_passes_with_direct_routing() {
    // In "auto" any node may come to use the tunnel, and pods keep to its MTU: over IPv6 the smaller one.
    for options in ["--routing direct --underlay dual", "--routing auto --underlay dual-v6"] {
        let rows = full(&format!("{options} --families dual"));
        assert_eq!((passed(&rows, false), passed(&rows, true)), (80, 80), "{options}");
    }
}

/// Streams whose packets the sender's kernel cuts, or nobody, with checksums made by a device or in advance: the input
/// of a device without offloads.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_near_the_mtu_are_whole_in_every_mode_whatever_devices_do_for_senders() {
    for mode in MODES {
        let lab = Lab::up(mode).unwrap();
        // Without checksums there are no segments: the kernel switches both off.
        for (segments, checksums) in [(true, true), (false, true), (false, false)] {
            for place in ["p1-1", "p2-1", "n1", "n2"] {
                let netns = lab.must_host(place, false).unwrap().netns;
                offload::switch(&netns, "eth0", Offload::SendChecksums, checksums).unwrap();
                for offload in [Offload::SendTcpSegments, Offload::SendSegments] {
                    offload::switch(&netns, "eth0", offload, segments).unwrap();
                }
            }
            let plan = Plan { paths: vec![Path::PodToRemotePod], ..Plan::streams(64 << 20) };
            matrix::must_pass(&lab, &plan)
                .unwrap_or_else(|why| panic!("{mode}, segments {segments}, checksums {checksums}: {why:#}"));
        }
    }
}

/// Every way from node to node.
const MODES: [&str; 4] = [
    "--routing tunnel --encapsulation device --underlay dual-v6",
    "--routing tunnel --encapsulation auto --underlay dual",
    "--routing tunnel --encapsulation auto --underlay dual-v6",
    "--routing direct --encapsulation device --underlay dual",
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ipv4_pods_reach_each_other_where_nodes_have_ipv6_alone() {
    let lab = Lab::up("--families v4 --underlay v6").unwrap();
    let (near, far) = (lab.must_host("p1-1", false).unwrap(), lab.must_host("p2-1", false).unwrap());
    naru_e2e::probe::ping::all_return(&near, &far, 8000, 3).unwrap();
    naru_e2e::probe::tcp::stream(&near, &far, 64 << 20, 1 << 20).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_gigabyte_crosses_every_path_and_none_between_pods_is_forwarded() {
    let lab = Lab::up("--families dual --underlay dual").unwrap();
    for node in &lab.nodes {
        tool::with_input(&node.open().unwrap(), "nft -f -", FORWARD_COUNTER).unwrap();
    }
    let between_pods =
        |wanted: bool| Path::ALL.into_iter().filter(|path| path.is_between_pods() == wanted).collect();
    let plan = Plan { paths: between_pods(true), ..Plan::streams(1 << 30) };
    matrix::must_pass(&lab, &plan).unwrap();
    for node in &lab.nodes {
        assert_eq!(forwarded(node), 0, "{}: the stack forwarded packets between pods", node.name);
    }
    let plan = Plan { paths: between_pods(false), ..Plan::streams(1 << 30) };
    matrix::must_pass(&lab, &plan).unwrap();
    // The witness does see packets that the stack forwards.
    assert!(forwarded(lab.node("n1").unwrap()) > 1000);
}

fn forwarded(node: &naru_e2e::lab::Node) -> u64 {
    let text = tool::run(&node.open().unwrap(), "nft list table inet witness").unwrap();
    let packets = text.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    packets.parse().unwrap()
}
