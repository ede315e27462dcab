use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use ipnet::IpNet;

use super::{
    COUNTERS, CounterValue, FORWARDED, Firewall, INVALID_TO_OUTSIDE, TABLE, TUNNEL_ELSEWHERE, Tunnel,
};

/// What our comment starts with.
pub const MARK: &str = "naru:";
/// Our devices, as nftables names them.
const OURS: &str = "\"naru*\"";

/// What the table for `firewall` is recognised by: the hash of its text, kept as a rule's comment.
pub fn mark(firewall: &Firewall) -> String {
    let chains = chains(firewall, "");
    let text = format!("{}{}", sets(firewall), chains.iter().map(Chain::text).collect::<String>());
    format!("{MARK}{:016x}", hash(&text))
}

/// The table as the text of one transaction that replaces it, its counters starting at `counters`.
#[must_use]
pub fn render(firewall: &Firewall, counters: &BTreeMap<String, CounterValue>) -> String {
    let mut text = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    for name in COUNTERS {
        let CounterValue { packets, bytes } = counters.get(name).copied().unwrap_or_default();
        let _ = writeln!(text, "\tcounter {name} {{ packets {packets} bytes {bytes} }}");
    }
    text.push_str(&sets(firewall));
    for chain in chains(firewall, &mark(firewall)) {
        text.push_str(&chain.text());
    }
    text.push_str("}\n");
    text
}

/// A family as nftables spells it.
struct Family {
    suffix: &'static str,
    kind: &'static str,
    header: &'static str,
    holds: fn(&IpAddr) -> bool,
}

/// Both of them.
const FAMILIES: [Family; 2] = [
    Family { suffix: "v4", kind: "ipv4_addr", header: "ip", holds: IpAddr::is_ipv4 },
    Family { suffix: "v6", kind: "ipv6_addr", header: "ip6", holds: IpAddr::is_ipv6 },
];

/// The prefixes of the lists, a set for each list and family.
fn sets(firewall: &Firewall) -> String {
    let mut text = String::new();
    for (name, prefixes) in [("masquerade", &firewall.masquerade), ("direct", &firewall.direct)] {
        for Family { suffix, kind, holds, .. } in FAMILIES {
            let merged = IpNet::aggregate(prefixes);
            let mut members: Vec<IpNet> = merged.into_iter().filter(|prefix| holds(&prefix.addr())).collect();
            members.sort_unstable();
            let members: Vec<String> = members.iter().map(ToString::to_string).collect();
            text.push_str(&set(&format!("{name}_{suffix}"), &format!("{kind}; flags interval"), &members));
        }
    }
    let ends: Vec<IpAddr> = firewall.tunnel.iter().flat_map(|tunnel| &tunnel.addresses).copied().collect();
    for Family { suffix, kind, holds, .. } in FAMILIES {
        let mut members: Vec<IpAddr> = ends.iter().copied().filter(holds).collect();
        members.sort_unstable();
        let members: Vec<String> = members.iter().map(ToString::to_string).collect();
        text.push_str(&set(&format!("tunnel_{suffix}"), kind, &members));
    }
    text
}

/// A set of this type.
fn set(name: &str, kind: &str, members: &[String]) -> String {
    let elements = match members {
        [] => String::new(),
        members => format!(" elements = {{ {} }}", members.join(", ")),
    };
    format!("\tset {name} {{ type {kind};{elements} }}\n")
}

/// A chain.
struct Chain {
    name: &'static str,
    /// Where a base chain is called; others are gone to.
    hook: Option<&'static str>,
    rules: Vec<String>,
}

impl Chain {
    /// The chain as text.
    fn text(&self) -> String {
        let rules: String = self.rules.iter().map(|rule| format!("\t\t{rule}\n")).collect();
        let hook = self.hook.map(|hook| format!("\t\ttype {hook}; policy accept;\n")).unwrap_or_default();
        format!("\tchain {} {{\n{hook}{rules}\t}}\n", self.name)
    }
}

/// The chains, with `mark` as comment of the one rule that is always there.
fn chains(firewall: &Firewall, mark: &str) -> Vec<Chain> {
    let mut chains = Vec::new();
    if let Some(tunnel) = &firewall.tunnel {
        chains.extend(tunnel_chains(tunnel));
    }
    let mut forward: Vec<String> = FAMILIES.iter().map(invalid_to_outside).collect();
    forward.push(format!("iifname {OURS} counter name {FORWARDED} accept comment \"{mark}\""));
    forward.push(format!("oifname {OURS} counter name {FORWARDED} accept"));
    chains.push(chain("forward", "filter hook forward priority filter", forward));
    let masquerade = FAMILIES.iter().map(masquerade).collect();
    chains.push(chain("postrouting", "nat hook postrouting priority srcnat", masquerade));
    chains
}

/// A base chain of these parts.
fn chain(name: &'static str, hook: &'static str, rules: Vec<String>) -> Chain {
    Chain { name, hook: Some(hook), rules }
}

/// The chains for tunnel packets received, and for those sent. Every packet of the node meets the first rule of each, and
/// every tunnel packet the way to `notrack`: what takes long, as `fib` does, comes last.
fn tunnel_chains(Tunnel { port, device_port, vni, .. }: &Tunnel) -> [Chain; 4] {
    let is_shared = port != device_port;
    // The key follows the UDP header and four bytes.
    let key = if is_shared { format!(" @th,96,24 {vni}") } else { String::new() };
    let drop = format!("fib daddr type local counter name {TUNNEL_ELSEWHERE} drop");
    let mut received = vec!["notrack".to_owned()];
    let mut incoming = vec![format!("udp dport {port}{key} goto tunnel_addressed")];
    let mut sent = vec![format!("udp dport {device_port}{key} notrack")];
    if is_shared {
        // A named field is written with its checksum, a position without.
        received.push(format!("udp checksum 0 @th,16,16 set {device_port}"));
        received.push(format!("udp checksum != 0 udp dport set {device_port}"));
        // Nobody but us has a reason to know the device's own port.
        incoming.push(format!("udp dport {device_port} {drop}"));
        sent.push(format!("udp dport {device_port}{key} @th,16,16 set {port}"));
    }
    let listed = |Family { suffix, header, .. }: &Family| {
        format!("{header} daddr @tunnel_{suffix} goto tunnel_received")
    };
    let addressed = FAMILIES.iter().map(listed).chain([drop]).collect();
    [
        Chain { name: "tunnel_received", hook: None, rules: received },
        Chain { name: "tunnel_addressed", hook: None, rules: addressed },
        chain("tunnel_in", "filter hook prerouting priority raw", incoming),
        chain("tunnel_out", "filter hook output priority raw", sent),
    ]
}

/// Matches packets that masquerade is due for.
fn to_outside(Family { suffix, header, .. }: &Family) -> String {
    format!("oifname != {OURS} {header} saddr @masquerade_{suffix} {header} daddr != @direct_{suffix}")
}

/// Drops what conntrack has no flow for: it would leave with the pod's address.
fn invalid_to_outside(family: &Family) -> String {
    format!("{} ct state invalid,untracked counter name {INVALID_TO_OUTSIDE} drop", to_outside(family))
}

/// Gives the node's address; random ports, so that flows racing for one do not lose packets.
fn masquerade(family: &Family) -> String {
    format!("{} masquerade fully-random", to_outside(family))
}

/// FNV-1a, the same in every build.
pub fn hash(text: &str) -> u64 {
    naru_core::ids::fnv1a(text)
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

    const GOLDEN: &str = r#"table inet naru
delete table inet naru
table inet naru {
	counter forwarded { packets 0 bytes 0 }
	counter invalid_to_outside { packets 3 bytes 180 }
	counter tunnel_elsewhere { packets 0 bytes 0 }
	set masquerade_v4 { type ipv4_addr; flags interval; elements = { 10.32.0.0/24 } }
	set masquerade_v6 { type ipv6_addr; flags interval; elements = { fd10:32::/112 } }
	set direct_v4 { type ipv4_addr; flags interval; elements = { 10.32.0.0/12, 192.0.2.0/24 } }
	set direct_v6 { type ipv6_addr; flags interval; elements = { fd10:32::/48 } }
	set tunnel_v4 { type ipv4_addr; elements = { 198.51.100.1 } }
	set tunnel_v6 { type ipv6_addr; }
	chain tunnel_received {
		notrack
	}
	chain tunnel_addressed {
		ip daddr @tunnel_v4 goto tunnel_received
		ip6 daddr @tunnel_v6 goto tunnel_received
		fib daddr type local counter name tunnel_elsewhere drop
	}
	chain tunnel_in {
		type filter hook prerouting priority raw; policy accept;
		udp dport 8472 goto tunnel_addressed
	}
	chain tunnel_out {
		type filter hook output priority raw; policy accept;
		udp dport 8472 notrack
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		oifname != "naru*" ip saddr @masquerade_v4 ip daddr != @direct_v4 ct state invalid,untracked counter name invalid_to_outside drop
		oifname != "naru*" ip6 saddr @masquerade_v6 ip6 daddr != @direct_v6 ct state invalid,untracked counter name invalid_to_outside drop
		iifname "naru*" counter name forwarded accept comment "MARK"
		oifname "naru*" counter name forwarded accept
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != "naru*" ip saddr @masquerade_v4 ip daddr != @direct_v4 masquerade fully-random
		oifname != "naru*" ip6 saddr @masquerade_v6 ip6 daddr != @direct_v6 masquerade fully-random
	}
}
"#;

    #[test]
    fn the_table_is_rendered_with_merged_prefixes_and_kept_counters() {
        let counters = [(INVALID_TO_OUTSIDE.to_owned(), CounterValue { packets: 3, bytes: 180 })].into();
        let mark = mark(&firewall());
        assert_eq!(render(&firewall(), &counters).replace(&mark, "MARK"), GOLDEN);
    }

    #[test]
    fn without_a_tunnel_there_are_no_tunnel_chains() {
        let text = render(&Firewall { tunnel: None, ..firewall() }, &BTreeMap::new());
        assert!(!text.contains("notrack"), "{text}");
    }

    #[test]
    fn a_tunnel_whose_port_is_somebody_elses_concerns_packets_with_its_key_alone() {
        let tunnel = Some(Tunnel { device_port: 18472, ..tunnel(8472) });
        let text = render(&Firewall { tunnel, ..firewall() }, &BTreeMap::new());
        for line in [
            "udp dport 8472 @th,96,24 5230 goto tunnel_addressed",
            "udp checksum 0 @th,16,16 set 18472",
            "udp checksum != 0 udp dport set 18472",
            "udp dport 18472 @th,96,24 5230 notrack",
            "udp dport 18472 @th,96,24 5230 @th,16,16 set 8472",
            "udp dport 18472 fib daddr type local counter name tunnel_elsewhere drop",
        ] {
            assert!(text.lines().any(|one| one.trim() == line), "{line} in {text}");
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
