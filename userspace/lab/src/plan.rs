//! The assignment of addresses: a pure function of the options.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    args::UpArgs,
    layout::LabName,
    model::{Lab, Node, Outside, Pod},
};

/// Prefix length of the nodes' network.
pub fn underlay_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

/// The lab that `options` describe, before any pod has an address.
pub fn plan(options: &UpArgs) -> Lab {
    let name = &options.name.lab;
    let underlay = options.underlay.families();
    let each = |make: &dyn Fn(bool) -> IpAddr| underlay.iter().map(|v6| make(*v6)).collect();
    let listed = |v6: bool| underlay.contains(&v6);
    Lab {
        name: name.to_string(),
        complete: false,
        mtu: options.mtu,
        routing: options.routing.into(),
        encapsulation: options.encapsulation.into(),
        ranges: [range(false), range(true)]
            .into_iter()
            .filter(|net| options.families.has(is_v6(*net)))
            .collect(),
        outside: Outside {
            netns: name.netns("out"),
            underlay: each(&|v6| underlay_host(v6, 254)),
            addresses: each(&|v6| far_host(v6, false)),
            listed: each(&|v6| far_host(v6, true)),
            no_masquerade: [false, true].into_iter().filter(|v6| listed(*v6)).map(listed_net).collect(),
        },
        nodes: (1..=options.nodes).map(|number| node(options, name, number)).collect(),
        pods: (1..=options.nodes)
            .flat_map(|node| (1..=options.pods).map(move |number| pod(name, node, number)))
            .collect(),
    }
}

fn node(options: &UpArgs, lab: &LabName, number: u8) -> Node {
    let name = format!("n{number}");
    Node {
        netns: lab.netns(&name),
        addresses: options.underlay.families().iter().map(|v6| underlay_host(*v6, number)).collect(),
        blocks: [false, true]
            .into_iter()
            .filter(|v6| options.families.has(*v6))
            .map(|v6| block(v6, number, options.pods))
            .collect(),
        root: lab.node_root(&name),
        agent: !options.no_agent,
        agent_pid: None,
        name,
    }
}

fn pod(lab: &LabName, node: u8, number: u16) -> Pod {
    let name = format!("p{node}-{number}");
    Pod {
        node: format!("n{node}"),
        netns: lab.netns(&name),
        container_id: lab.netns(&name),
        addresses: Vec::new(),
        result: serde_json::Value::Null,
        name,
    }
}

fn is_v6(net: IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

fn v4(address: [u8; 4], length: u8) -> IpNet {
    Ipv4Net::new_assert(address.into(), length).into()
}

fn v6(groups: [u16; 4], length: u8) -> IpNet {
    let [a, b, c, d] = groups;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length).into()
}

/// The cluster's range.
fn range(is_v6: bool) -> IpNet {
    if is_v6 { v6([0xfd10, 0x32, 0, 0], 48) } else { v4([10, 32, 0, 0], 12) }
}

/// The block of node `number`: a /24 for ordinary labs, a /22 where that would be short.
fn block(is_v6: bool, number: u8, pods: u16) -> IpNet {
    match (is_v6, pods > 200) {
        (true, _) => v6([0xfd10, 0x32, 0, number.into()], 112),
        (false, false) => v4([10, 32, number, 0], 24),
        (false, true) => v4([10, 32 + number / 64, (number % 64) * 4, 0], 22),
    }
}

/// Host `number` on the nodes' network (TEST-NET-2 and a documentation prefix).
fn underlay_host(v6: bool, number: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number.into()).into()
    } else {
        Ipv4Addr::new(198, 51, 100, number).into()
    }
}

/// The outside host's address behind the nodes' network: listed for no masquerade, or not.
fn far_host(v6: bool, listed: bool) -> IpAddr {
    match (v6, listed) {
        (false, false) => Ipv4Addr::new(192, 0, 2, 1).into(),
        (false, true) => Ipv4Addr::new(203, 0, 113, 1).into(),
        (true, listed) => Ipv6Addr::new(0x2001, 0xdb8, if listed { 3 } else { 2 }, 0, 0, 0, 0, 1).into(),
    }
}

fn listed_net(is_v6: bool) -> IpNet {
    if is_v6 { v6([0x2001, 0xdb8, 3, 0], 64) } else { v4([203, 0, 113, 0], 24) }
}

/// The lab as its nodes' cluster.toml.
pub fn cluster_file(lab: &Lab) -> String {
    let mut text = String::from("# Written by `naru lab up`.\n");
    let mut line = |key: &str, values: Vec<String>| {
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        let _ = writeln!(text, "{key} = [{}]", quoted.join(", "));
    };
    line("ranges", strings(&lab.ranges));
    line("no_masquerade", strings(&lab.outside.no_masquerade));
    let _ = writeln!(
        text,
        "routing = \"{}\"\nencapsulation = \"{}\"",
        lab.routing.label(),
        lab.encapsulation.label()
    );
    for node in &lab.nodes {
        let list = |values: Vec<String>| values.join("\", \"");
        let _ = writeln!(
            text,
            "\n[[node]]\nname = \"{}\"\naddresses = [\"{}\"]\nblocks = [\"{}\"]",
            node.name,
            list(strings(&node.addresses)),
            list(strings(&node.blocks)),
        );
    }
    text
}

fn strings<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        up: UpArgs,
    }

    fn planned(arguments: &[&str]) -> Lab {
        plan(&Command::parse_from([&["up"], arguments].concat()).up)
    }

    #[test]
    fn blocks_lie_in_the_ranges_and_apart_from_each_other() {
        for pods in ["5", "250"] {
            let lab = planned(&["--nodes", "64", "--pods", pods]);
            let blocks: Vec<IpNet> = lab.nodes.iter().flat_map(|node| node.blocks.clone()).collect();
            for (position, block) in blocks.iter().enumerate() {
                assert!(lab.ranges.iter().any(|range| range.contains(block)), "{block}");
                assert!(
                    blocks[..position].iter().all(|other| !other.contains(block) && !block.contains(other))
                );
            }
        }
    }

    #[test]
    fn families_and_underlay_are_chosen_apart() {
        let lab = planned(&["--families", "v4", "--underlay", "v6"]);
        assert_eq!(strings(&lab.nodes[0].blocks), ["10.32.1.0/24"]);
        assert_eq!(strings(&lab.nodes[0].addresses), ["2001:db8:1::1"]);
        let lab = planned(&["--families", "v6", "--underlay", "dual-v6"]);
        assert_eq!(strings(&lab.ranges), ["fd10:32::/48"]);
        assert_eq!(strings(&lab.nodes[1].addresses), ["2001:db8:1::2", "198.51.100.2"]);
    }

    #[test]
    fn the_cluster_file_names_ranges_nodes_and_the_list_without_masquerade() {
        let text = cluster_file(&planned(&["--nodes", "1", "--families", "v4", "--underlay", "v4"]));
        assert_eq!(
            text,
            "# Written by `naru lab up`.\nranges = [\"10.32.0.0/12\"]\nno_masquerade = [\"203.0.113.0/24\"]\n\
             routing = \"auto\"\nencapsulation = \"auto\"\n\n\
             [[node]]\nname = \"n1\"\naddresses = [\"198.51.100.1\"]\nblocks = [\"10.32.1.0/24\"]\n"
        );
    }
}
