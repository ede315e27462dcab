//! cluster.toml: accepted files, and the error for each mistake.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a helper of a test fails as the test does; the table is long"
)]

use std::{fmt::Write as _, path::Path};

use naru_cluster::{
    ClusterError,
    file::{load, parse},
};
use naru_core::cluster::{ClusterSpec, Encapsulation, Routing, TunnelSpec};

const GOOD: &str = r#"ranges = ["10.32.0.0/12", "fd10:32::/48"]
no_masquerade = ["192.0.2.0/24"]

[[node]]
name = "node2"
addresses = ["198.51.100.2", "2001:db8::2"]
blocks = ["10.32.1.0/24", "fd10:32::1:0/112"]

[[node]]
name = "node1"
addresses = ["198.51.100.1", "2001:db8::1"]
blocks = ["10.32.0.0/24", "fd10:32::/112"]
"#;

fn read(text: &str) -> Result<ClusterSpec, ClusterError> {
    parse(Path::new("/etc/naru/cluster.toml"), text)
}

/// The error for [`GOOD`] with its first `from` replaced by `to`, without the file's directory.
fn error_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the file");
    let error = read(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
    error.strip_prefix("/etc/naru/").expect("the file is named first").to_owned()
}

#[test]
fn a_good_file_becomes_a_cluster_with_every_default() {
    let cluster = read(GOOD).unwrap();
    assert!(cluster.masquerade);
    assert_eq!(
        cluster.tunnel,
        TunnelSpec { port: 8472, fallback_ports: vec![18472, 28472, 38472], vni: 5230 }
    );
    assert_eq!(cluster.no_masquerade, ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(cluster.ranges.len(), 2);
    let node = cluster.node("node1").unwrap();
    assert_eq!(node.underlay(), Some("198.51.100.1".parse().unwrap()));
    assert_eq!(node.blocks, ["10.32.0.0/24".parse().unwrap(), "fd10:32::/112".parse().unwrap()]);
}

#[test]
fn the_order_of_the_nodes_in_the_file_does_not_matter() {
    let names: Vec<String> = read(GOOD).unwrap().nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["node1", "node2"]);
}

#[test]
fn a_tunnel_table_overrides_the_defaults() {
    let text = GOOD.replacen(
        "\n[[node]]",
        "\nmasquerade = false\n[tunnel]\nport = 4789\nfallback_ports = [4790, 4789]\nvni = 7\n[[node]]",
        1,
    );
    let cluster = read(&text).unwrap();
    assert!(!cluster.masquerade);
    assert_eq!(cluster.tunnel, TunnelSpec { port: 4789, fallback_ports: vec![4790], vni: 7 });
}

#[test]
fn routing_and_encapsulation_are_the_clusters_and_a_node_may_differ() {
    let cluster = read(GOOD).unwrap();
    assert_eq!(cluster.routing_of("node1"), Routing::Auto);
    assert_eq!(cluster.encapsulation_of("node1"), Encapsulation::Auto);
    let own = "routing = \"direct\"\nencapsulation = \"device\"\nname = \"node2\"";
    let text = GOOD.replacen("\n[[node]]", "\nrouting = \"tunnel\"\n[[node]]", 1);
    let cluster = read(&text.replacen("name = \"node2\"", own, 1)).unwrap();
    assert_eq!(
        (cluster.routing_of("node1"), cluster.routing_of("node2")),
        (Routing::Tunnel, Routing::Direct)
    );
    assert_eq!(cluster.encapsulation_of("node1"), Encapsulation::Auto);
    assert_eq!(cluster.encapsulation_of("node2"), Encapsulation::Device);
}

#[test]
fn every_mistake_is_named_with_its_line_and_key() {
    let cases = [
        ("ranges", "rangse", "cluster.toml:1: rangse: unknown field `rangse`"),
        ("[\"192.0.2.0/24\"]", "7", "cluster.toml:2: no_masquerade: invalid type: integer `7`"),
        ("\"10.32.0.0/12\"", "\"10.32.0.0.12\"", "cluster.toml:1: ranges: `10.32.0.0.12` is not a network"),
        (
            "10.32.0.0/12",
            "10.33.0.0/12",
            "cluster.toml:1: ranges: 10.33.0.0/12 has host bits set; the network is 10.32.0.0/12",
        ),
        (
            "\"fd10:32::/48\"",
            "\"10.40.0.0/13\"",
            "cluster.toml:1: ranges: 10.40.0.0/13 overlaps 10.32.0.0/12",
        ),
        (
            "[\"192.0.2.0/24\"]",
            "[]\nrouting = \"bgp\"",
            "cluster.toml:3: routing: unknown variant `bgp`, expected one of `auto`, `tunnel`, `direct`",
        ),
        ("[\"10.32.0.0/12\", \"fd10:32::/48\"]", "[]", "cluster.toml:1: ranges: the list is empty"),
        ("\"node2\"", "\"\"", "cluster.toml:5: node.name: `` is not a node name"),
        ("\"node2\"", "\"a b\"", "cluster.toml:5: node.name: `a b` is not a node name"),
        ("\"node2\"", "\"node1\"", "cluster.toml:10: node.name: duplicate node node1"),
        ("name = \"node2\"\n", "", "cluster.toml:4: node: missing field `name`"),
        ("198.51.100.2", "198.51.100", "cluster.toml:6: node.addresses: `198.51.100` is not an address"),
        (
            "198.51.100.2",
            "198.51.100.1",
            "cluster.toml:11: node.addresses: 198.51.100.1 is an address of node node2 already",
        ),
        (
            "2001:db8::2",
            "198.51.100.2",
            "cluster.toml:6: node.addresses: 198.51.100.2 is an address of node itself already",
        ),
        ("198.51.100.2", "127.0.0.1", "cluster.toml:6: node.addresses: 127.0.0.1 is no node's address"),
        (
            "198.51.100.2",
            "10.32.9.9",
            "cluster.toml:6: node.addresses: 10.32.9.9 lies in the pod range 10.32.0.0/12",
        ),
        ("[\"198.51.100.2\", \"2001:db8::2\"]", "[]", "cluster.toml:6: node.addresses: the list is empty"),
        (
            "\"198.51.100.1\", \"2001:db8::1\"",
            "\"2001:db8::1\"",
            "cluster.toml:11: node.addresses: 2001:db8::1 is of another family than the first address of node node2",
        ),
        ("10.32.1.0/24", "10.32.1.1/24", "cluster.toml:7: node.blocks: 10.32.1.1/24 has host bits set"),
        (
            "10.32.1.0/24",
            "10.32.0.0/16",
            "cluster.toml:12: node.blocks: 10.32.0.0/24 overlaps 10.32.0.0/16 of node node2",
        ),
        (
            "10.32.1.0/24",
            "10.48.0.0/24",
            "cluster.toml:7: node.blocks: 10.48.0.0/24 lies in none of `ranges`",
        ),
        (
            "\"fd10:32::1:0/112\"",
            "\"10.32.1.128/25\"",
            "cluster.toml:7: node.blocks: 10.32.1.128/25 overlaps 10.32.1.0/24",
        ),
        ("[\"10.32.1.0/24\", \"fd10:32::1:0/112\"]", "[]", "cluster.toml:7: node.blocks: the list is empty"),
        ("\n[[node]]", "\n[tunnel]\nport = 0\n[[node]]", "cluster.toml:5: tunnel.port: 0 is not a port"),
        (
            "\n[[node]]",
            "\n[tunnel]\nport = 65536\n[[node]]",
            "cluster.toml:5: tunnel.port: invalid value: integer `65536`",
        ),
        (
            "\n[[node]]",
            "\n[tunnel]\nvni = 16777216\n[[node]]",
            "cluster.toml:5: tunnel.vni: 16777216 is not a network identifier",
        ),
        ("\n[[node]]", "\n[tunnel]\nmtu = 1\n[[node]]", "cluster.toml:5: tunnel.mtu: unknown field `mtu`"),
    ];
    let mut wrong = String::new();
    for (from, to, expected) in cases {
        let error = error_with(from, to);
        if !error.starts_with(expected) {
            let _ = writeln!(wrong, "expected {expected}\n   found {error}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_file_cut_at_any_byte_is_an_error_or_a_cluster_but_never_a_panic() {
    for (end, _) in GOOD.char_indices() {
        let _ = read(&GOOD[..end]);
    }
}

#[test]
fn a_file_without_a_node_is_refused() {
    let error = read("ranges = [\"10.0.0.0/8\"]\n").unwrap_err().to_string();
    assert!(error.ends_with("the cluster has no node"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/cluster.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/cluster.toml: "), "{error}");
}

/// A cluster of `count` nodes, each with a /24 and a /112, in no order.
fn large(count: usize) -> String {
    let mut text = "ranges = [\"10.0.0.0/8\", \"fd10::/32\"]\n".to_owned();
    for at in 0..count {
        // 7919 is a prime: every number below `count` comes once.
        let (high, low) = ((at * 7919 % count) / 250, (at * 7919 % count) % 250);
        write!(
            text,
            "[[node]]\nname = \"n{high}-{low}\"\naddresses = [\"192.168.{high}.{low}\"]\n\
             blocks = [\"10.{high}.{low}.0/24\", \"fd10:0:{high}:{low}::/112\"]\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn five_thousand_nodes_are_read_and_the_time_is_told() {
    let (text, started) = (large(5_000), std::time::Instant::now());
    assert_eq!(read(&text).unwrap().nodes.len(), 5_000);
    println!("5,000 nodes, {} bytes: {:?}", text.len(), started.elapsed());
}

#[test]
fn among_many_blocks_the_one_that_overlaps_is_found_whichever_of_the_two_is_larger() {
    let one = |block: &str| {
        let node = "[[node]]\nname = \"last\"\naddresses = [\"192.168.255.1\"]\nblocks = ";
        read(&format!("{}{node}[\"{block}\"]\n", large(1_000))).map(|cluster| cluster.nodes.len())
    };
    assert_eq!(one("10.2.250.0/24").unwrap(), 1_001, "between two others");
    assert_eq!(one("fd10:0:9::/112").unwrap(), 1_001, "behind all others");
    for (block, says) in [
        ("10.2.7.0/24", "10.2.7.0/24 overlaps 10.2.7.0/24 of node n2-7"),
        ("10.2.7.255/32", "10.2.7.255/32 overlaps 10.2.7.0/24 of node n2-7"),
        ("10.2.248.0/23", "10.2.248.0/23 overlaps 10.2.248.0/24 of node n2-248"),
        ("10.0.0.0/9", "10.0.0.0/9 overlaps 10.0.0.0/24 of node n0-0"),
        ("fd10:0:2:7::8/128", "fd10:0:2:7::8/128 overlaps fd10:0:2:7::/112 of node n2-7"),
    ] {
        let error = one(block).unwrap_err().to_string();
        assert!(error.ends_with(says), "{error}");
    }
}
