//! The table as a value: counters, sets, and the rules of each chain. `rules.txt` shows them as nft writes them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_core::ids::stable_hash;
use naru_netlink::nft::{
    self, Address, Batch, CounterValue, Device, Hook, HookPoint, IpVersion, Members, Rule, Set,
    Statement::{
        self, CountIn, InvalidOrUntracked, LocalDestination, Masquerade, NoTrack, SetUdpDestination,
        TransportBytes, UdpDestination, UdpHasChecksum,
    },
    Verdict,
};

use super::{COUNTERS, FORWARDED, Firewall, INVALID_TO_OUTSIDE, TUNNEL_ELSEWHERE, Tunnel, table};

/// Our comments start so.
pub const MARK: &str = "naru:";
/// The names of our devices begin so.
const OURS: &str = "naru";
const ACCEPT: Statement = Statement::Verdict(Verdict::Accept);
const DROP: Statement = Statement::Verdict(Verdict::Drop);

/// Received, before conntrack sees it.
const RECEIVED: Hook = hook("filter", HookPoint::Prerouting, -300);
/// Sent by the node, before conntrack sees it.
const SENT: Hook = hook("filter", HookPoint::Output, -300);
/// Forwarded, where filters are by default.
const FORWARDING: Hook = hook("filter", HookPoint::Forward, 0);
/// Sent or forwarded, where sources are translated by default.
const LEAVING: Hook = hook("nat", HookPoint::Postrouting, 100);

const fn hook(kind: &'static str, point: HookPoint, priority: i32) -> Hook {
    Hook { kind, point, priority }
}

/// The mark by which the table for `firewall` is recognised: the hash of its content, kept as a rule's comment.
pub fn mark(firewall: &Firewall) -> String {
    let content = content(firewall, &BTreeMap::new(), None).content();
    format!("{MARK}{:016x}", stable_hash(&content, 0))
}

/// Returns the transaction that replaces whatever has the table's name; its counters start at `counters`.
pub fn replacement(firewall: &Firewall, counters: &BTreeMap<String, CounterValue>) -> Batch {
    content(firewall, counters, Some(mark(firewall)))
}

fn content(firewall: &Firewall, counters: &BTreeMap<String, CounterValue>, mark: Option<String>) -> Batch {
    let (table, mut batch) = (table(), Batch::new());
    // What is deleted must be there.
    batch.add_table(&table);
    batch.delete_table(&table);
    batch.add_table(&table);
    for name in COUNTERS {
        batch.add_counter(&table, name, counters.get(name).copied().unwrap_or_default());
    }
    for set in sets(firewall) {
        batch.add_set(&table, &set);
    }
    let chains = chains(firewall, mark);
    for TableChain { name, hook, .. } in &chains {
        batch.add_chain(&table, &nft::Chain { name, hook: *hook });
    }
    for chain in &chains {
        for rule in &chain.rules {
            batch.add_rule(&table, chain.name, rule);
        }
    }
    batch
}

/// The prefixes of the lists and the tunnel's addresses: a set for each of them and each version of IP.
fn sets(firewall: &Firewall) -> Vec<Set> {
    let mut sets = Vec::new();
    for (list, prefixes) in [("masquerade", &firewall.masquerade), ("direct", &firewall.direct)] {
        for version in IpVersion::BOTH {
            let mut members = IpNet::aggregate(prefixes);
            members.retain(|prefix| version.has(&prefix.addr()));
            members.sort_unstable();
            sets.push(Set { name: set_of(list, version), version, members: Members::Prefixes(members) });
        }
    }
    for version in IpVersion::BOTH {
        let ends = firewall.tunnel.iter().flat_map(|tunnel| &tunnel.addresses);
        let mut members: Vec<IpAddr> = ends.copied().filter(|address| version.has(address)).collect();
        members.sort_unstable();
        members.dedup();
        sets.push(Set { name: set_of("tunnel", version), version, members: Members::Addresses(members) });
    }
    sets
}

/// The name of that list's set of this version.
fn set_of(list: &str, version: IpVersion) -> String {
    match version {
        IpVersion::V4 => format!("{list}_v4"),
        IpVersion::V6 => format!("{list}_v6"),
    }
}

/// A chain with its rules.
pub struct TableChain {
    name: &'static str,
    /// The place where a base chain is called; rules go to the others.
    hook: Option<Hook>,
    rules: Vec<Rule>,
}

/// The chains, with `mark` as comment of the one rule that is always there.
fn chains(firewall: &Firewall, mark: Option<String>) -> Vec<TableChain> {
    let mut chains: Vec<TableChain> = firewall.tunnel.iter().flat_map(tunnel_chains).collect();
    let mut forward: Vec<Rule> = IpVersion::BOTH.map(invalid_to_outside).into();
    forward.push(Rule { comment: mark, ..Rule::new([ours(Device::In), CountIn(FORWARDED), ACCEPT]) });
    forward.push(Rule::new([ours(Device::Out), CountIn(FORWARDED), ACCEPT]));
    chains.push(TableChain { name: "forward", hook: Some(FORWARDING), rules: forward });
    let postrouting = IpVersion::BOTH.map(masquerade).into();
    chains.push(TableChain { name: "postrouting", hook: Some(LEAVING), rules: postrouting });
    chains
}

/// The chains for received tunnel packets, and for sent ones. Every packet of the node meets the first rule of each,
/// and every tunnel packet those before `notrack`, so slow conditions, like `fib`, come last.
fn tunnel_chains(Tunnel { port, device_port, vni, .. }: &Tunnel) -> [TableChain; 4] {
    let is_shared = port != device_port;
    // The key follows the UDP header and four bytes; packets with another key are not ours.
    let key = is_shared.then_some(TransportBytes { offset: 12, value: *vni });
    let to = |port: u16| [vec![UdpDestination(port)], key.iter().cloned().collect()].concat();
    let mut received = vec![rule([NoTrack])];
    let mut incoming = vec![Rule::new([to(*port), vec![goto("tunnel_addressed")]].concat())];
    let mut sent = vec![Rule::new([to(*device_port), vec![NoTrack]].concat())];
    if is_shared {
        let to_device = |checksum| SetUdpDestination { port: *device_port, checksum };
        received.push(rule([UdpHasChecksum(false), to_device(false)]));
        received.push(rule([UdpHasChecksum(true), to_device(true)]));
        // Only this machine has a reason to know the device's own port.
        incoming.push(Rule::new([vec![UdpDestination(*device_port)], dropped_here()].concat()));
        let to_wire = SetUdpDestination { port: *port, checksum: false };
        sent.push(Rule::new([to(*device_port), vec![to_wire]].concat()));
    }
    let listed =
        |version| rule([in_set(version, Address::Destination, true, "tunnel"), goto("tunnel_received")]);
    let addressed = IpVersion::BOTH.into_iter().map(listed).chain([Rule::new(dropped_here())]).collect();
    [
        TableChain { name: "tunnel_received", hook: None, rules: received },
        TableChain { name: "tunnel_addressed", hook: None, rules: addressed },
        TableChain { name: "tunnel_in", hook: Some(RECEIVED), rules: incoming },
        TableChain { name: "tunnel_out", hook: Some(SENT), rules: sent },
    ]
}

/// Drops and counts packets to any other address of this machine.
fn dropped_here() -> Vec<Statement> {
    vec![LocalDestination, CountIn(TUNNEL_ELSEWHERE), DROP]
}

/// Matches packets that are to be masqueraded.
fn to_outside(version: IpVersion) -> Vec<Statement> {
    vec![
        Statement::Device { device: Device::Out, is: false, prefix: OURS },
        in_set(version, Address::Source, true, "masquerade"),
        in_set(version, Address::Destination, false, "direct"),
    ]
}

/// Drops packets without a flow in conntrack: they would leave with the pod's address.
fn invalid_to_outside(version: IpVersion) -> Rule {
    Rule::new([to_outside(version), vec![InvalidOrUntracked, CountIn(INVALID_TO_OUTSIDE), DROP]].concat())
}

/// Masquerades with the node's address, and random ports, so that flows that race for one port lose no packets.
fn masquerade(version: IpVersion) -> Rule {
    Rule::new([to_outside(version), vec![Masquerade]].concat())
}

fn rule<const N: usize>(statements: [Statement; N]) -> Rule {
    Rule::new(statements)
}

fn ours(device: Device) -> Statement {
    Statement::Device { device, is: true, prefix: OURS }
}

fn in_set(version: IpVersion, address: Address, is: bool, list: &str) -> Statement {
    Statement::InSet { version, address, is, set: set_of(list, version) }
}

fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firewall() -> Firewall {
        Firewall {
            masquerade: vec!["10.32.0.0/24".parse().unwrap(), "fd10:32::/112".parse().unwrap()],
            direct: ["192.0.2.0/24", "10.32.0.0/12", "10.32.1.0/24", "fd10:32::/48"]
                .map(|p| p.parse().unwrap())
                .into(),
            tunnel: Some(tunnel(8472)),
        }
    }

    fn tunnel(port: u16) -> Tunnel {
        Tunnel { port, device_port: port, vni: 5230, addresses: vec!["198.51.100.1".parse().unwrap()] }
    }

    fn lines(firewall: &Firewall) -> Vec<String> {
        let line = |name: &str, rule: &Rule| format!("{name}: {rule}");
        let chains = chains(firewall, None);
        chains.iter().flat_map(|chain| chain.rules.iter().map(move |rule| line(chain.name, rule))).collect()
    }

    #[test]
    fn the_rules_read_as_nft_writes_them() {
        assert_eq!(lines(&firewall()).join("\n"), include_str!("rules.txt").trim_end());
    }

    #[test]
    fn prefixes_are_merged_and_sorted_by_version() {
        let sets = sets(&firewall());
        let members = |name: &str| sets.iter().find(|set| set.name == name).unwrap().members.clone();
        let prefixes = |list: &[&str]| Members::Prefixes(list.iter().map(|p| p.parse().unwrap()).collect());
        assert_eq!(members("direct_v4"), prefixes(&["10.32.0.0/12", "192.0.2.0/24"]));
        assert_eq!(members("masquerade_v6"), prefixes(&["fd10:32::/112"]));
        assert_eq!(members("tunnel_v4"), Members::Addresses(vec!["198.51.100.1".parse().unwrap()]));
        assert_eq!(members("tunnel_v6"), Members::Addresses(Vec::new()));
    }

    #[test]
    fn without_a_tunnel_there_are_no_tunnel_chains() {
        let lines = lines(&Firewall { tunnel: None, ..firewall() });
        assert!(lines.iter().all(|line| !line.contains("tunnel")), "{lines:?}");
    }

    #[test]
    fn a_tunnel_whose_port_is_somebody_elses_concerns_packets_with_its_key_alone() {
        let tunnel = Some(Tunnel { device_port: 18472, ..tunnel(8472) });
        let lines = lines(&Firewall { tunnel, ..firewall() });
        for line in [
            "tunnel_in: udp dport 8472 @th,96,24 5230 goto tunnel_addressed",
            "tunnel_received: udp checksum 0 @th,16,16 set 18472",
            "tunnel_received: udp checksum != 0 udp dport set 18472",
            "tunnel_out: udp dport 18472 @th,96,24 5230 notrack",
            "tunnel_out: udp dport 18472 @th,96,24 5230 @th,16,16 set 8472",
            "tunnel_in: udp dport 18472 fib daddr type local counter name tunnel_elsewhere drop",
        ] {
            assert!(lines.iter().any(|one| one == line), "{line} in {lines:?}");
        }
    }

    #[test]
    fn the_mark_depends_on_the_content_and_not_on_its_order() {
        let mut other = firewall();
        other.direct.reverse();
        assert_eq!(mark(&other), mark(&firewall()));
        other.direct.pop();
        assert_ne!(mark(&other), mark(&firewall()));
        assert_ne!(mark(&Firewall { tunnel: Some(tunnel(4789)), ..firewall() }), mark(&firewall()));
    }
}
