//! kube-proxy's tables, chains and rules, for Services without a Kubernetes. The layout follows its documentation and
//! the output of `iptables-save` and `nft list ruleset` on a node that runs it.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context;
use ipnet::IpNet;

use crate::tool;

/// The bit of the packet mark that asks for masquerade.
const MASQUERADE: &str = "0x4000";

/// The mode whose rules are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proxy {
    /// kube-proxy's mode `iptables`.
    Iptables,
    /// kube-proxy's mode `nftables`.
    Nftables,
}

impl Proxy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Iptables, Self::Nftables];
}

/// One port of a Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// A name to tell it from others: upper-case letters and digits.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Its cluster address and port.
    pub at: SocketAddr,
    /// Its port on every node, if it has one.
    pub node_port: Option<u16>,
    /// Pods (or nodes) behind it.
    pub endpoints: Vec<SocketAddr>,
}

/// A node's kube-proxy for one family.
#[derive(Clone, Debug)]
pub struct KubeProxy {
    /// The mode.
    pub proxy: Proxy,
    /// The node's namespace.
    pub netns: String,
    /// Addresses of the node at which node ports are served.
    pub addresses: Vec<IpAddr>,
    /// The pods' range, from which Services are reached without masquerade.
    pub pods: IpNet,
}

impl KubeProxy {
    /// Makes the node serve exactly these Services, in one step.
    ///
    /// # Errors
    /// The tools refuse the rules.
    pub fn serve(&self, services: &[Service]) -> anyhow::Result<()> {
        let (line, rules) = match self.proxy {
            Proxy::Iptables if self.is_v6() => ("ip6tables-nft-restore --noflush", self.iptables(services)),
            Proxy::Iptables => ("iptables-nft-restore --noflush", self.iptables(services)),
            Proxy::Nftables => ("nft -f -", self.nftables(services)),
        };
        tool::with_input(&self.netns, line, &rules)
            .map(drop)
            .with_context(|| format!("{:?} rules of kube-proxy", self.proxy))
    }

    fn is_v6(&self) -> bool {
        matches!(self.pods, IpNet::V6(_))
    }

    fn iptables(&self, services: &[Service]) -> String {
        let mut chains = String::from(
            "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n\
             :KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n",
        );
        let mut rules = String::from(
            "-D PREROUTING -j KUBE-SERVICES\n-D OUTPUT -j KUBE-SERVICES\n-D POSTROUTING -j KUBE-POSTROUTING\n",
        );
        if !self.is_there() {
            rules.clear();
        }
        rules += "-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-I POSTROUTING -j KUBE-POSTROUTING\n";
        let _ = writeln!(rules, "-A KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE}");
        let _ = writeln!(rules, "-A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE}/{MASQUERADE} -j RETURN");
        let _ = writeln!(rules, "-A KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE}");
        rules += "-A KUBE-POSTROUTING -j MASQUERADE --random-fully\n";
        for service in services {
            self.iptables_service(service, &mut chains, &mut rules);
        }
        rules += "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT\n";
        let forward = "*filter\n:KUBE-FORWARD - [0:0]\n-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
            -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n\
            -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
        let hook = if self.is_there() { "" } else { "-A FORWARD -j KUBE-FORWARD\n" };
        format!("{chains}{rules}{forward}{hook}COMMIT\n")
    }

    /// Returns true if the chains exist already.
    fn is_there(&self) -> bool {
        let program = if self.is_v6() { "ip6tables-nft" } else { "iptables-nft" };
        tool::with_input(&self.netns, &format!("{program} -t nat -S KUBE-SERVICES"), "").is_ok()
    }

    fn iptables_service(&self, service: &Service, chains: &mut String, rules: &mut String) {
        let Service { name, protocol, at, node_port, endpoints } = service;
        let (ip, port, bits) = (at.ip(), at.port(), if self.is_v6() { 128 } else { 32 });
        let _ = writeln!(chains, ":KUBE-SVC-{name} - [0:0]\n:KUBE-EXT-{name} - [0:0]");
        let to = format!("-d {ip}/{bits} -p {protocol} -m {protocol} --dport {port}");
        let _ = writeln!(rules, "-A KUBE-SERVICES {to} -j KUBE-SVC-{name}");
        let _ = writeln!(rules, "-A KUBE-SVC-{name} ! -s {} {to} -j KUBE-MARK-MASQ", self.pods);
        let _ =
            writeln!(rules, "-A KUBE-EXT-{name} -j KUBE-MARK-MASQ\n-A KUBE-EXT-{name} -j KUBE-SVC-{name}");
        if let Some(port) = node_port {
            let at = format!("-p {protocol} -m {protocol} --dport {port}");
            let _ = writeln!(rules, "-A KUBE-NODEPORTS {at} -j KUBE-EXT-{name}");
        }
        for (number, endpoint) in endpoints.iter().enumerate() {
            let _ = writeln!(chains, ":KUBE-SEP-{name}{number} - [0:0]");
            let left = endpoints.len() - number;
            let chance = format!("-m statistic --mode random --probability {:.10} ", 1.0 / left as f64);
            let chance = if left == 1 { "" } else { &chance };
            let _ = writeln!(rules, "-A KUBE-SVC-{name} {chance}-j KUBE-SEP-{name}{number}");
            let _ =
                writeln!(rules, "-A KUBE-SEP-{name}{number} -s {}/{bits} -j KUBE-MARK-MASQ", endpoint.ip());
            let dnat = format!("-p {protocol} -m {protocol} -j DNAT --to-destination {endpoint}");
            let _ = writeln!(rules, "-A KUBE-SEP-{name}{number} {dnat}");
        }
    }

    fn nftables(&self, services: &[Service]) -> String {
        let (family, kind, ip) =
            if self.is_v6() { ("ip6", "ipv6_addr", "ip6") } else { ("ip", "ipv4_addr", "ip") };
        let list = |items: Vec<String>| {
            if items.is_empty() { String::new() } else { format!("elements = {{ {} }}", items.join(", ")) }
        };
        let ips = services
            .iter()
            .map(|s| format!("{} . {} . {} : goto service-{}", s.at.ip(), s.protocol, s.at.port(), s.name));
        let ports = services
            .iter()
            .filter_map(|s| Some(format!("{} . {} : goto external-{}", s.protocol, s.node_port?, s.name)));
        let own = self.addresses.iter().map(ToString::to_string);
        let mut text = format!(
            "table {family} kube-proxy\ndelete table {family} kube-proxy\ntable {family} kube-proxy {{\n"
        );
        let _ = writeln!(
            text,
            "map service-ips {{ type {kind} . inet_proto . inet_service : verdict; {} }}",
            list(ips.collect())
        );
        let _ = writeln!(
            text,
            "map service-nodeports {{ type inet_proto . inet_service : verdict; {} }}",
            list(ports.collect())
        );
        let _ = writeln!(text, "set nodeport-ips {{ type {kind}; {} }}", list(own.collect()));
        let _ = writeln!(text, "chain mark-for-masquerade {{ mark set mark or {MASQUERADE}; }}");
        let _ = writeln!(
            text,
            "chain masquerading {{ mark and {MASQUERADE} == 0 return; \
             mark set mark xor {MASQUERADE}; masquerade fully-random; }}"
        );
        services.iter().for_each(|service| self.nftables_service(service, ip, &mut text));
        let _ = write!(
            text,
            "chain services {{ {ip} daddr . meta l4proto . th dport vmap @service-ips; \
             {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports; }}\n\
             chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}\n\
             chain nat-output {{ type nat hook output priority -100; jump services; }}\n\
             chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}\n\
             chain filter-forward {{ type filter hook forward priority -110; ct state invalid drop; }}\n}}\n"
        );
        text
    }

    fn nftables_service(&self, service: &Service, ip: &str, text: &mut String) {
        let Service { name, protocol, at, endpoints, .. } = service;
        for (number, endpoint) in endpoints.iter().enumerate() {
            let _ = writeln!(
                text,
                "chain endpoint-{name}-{number} {{ {ip} saddr {} jump mark-for-masquerade; \
                 meta l4proto {protocol} dnat to {endpoint}; }}",
                endpoint.ip()
            );
        }
        let choice = (0..endpoints.len()).map(|number| format!("{number} : goto endpoint-{name}-{number}"));
        let choice: Vec<String> = choice.collect();
        let choose = match endpoints.len() {
            0 => String::new(),
            count => format!("numgen random mod {count} vmap {{ {} }};", choice.join(", ")),
        };
        let _ = writeln!(
            text,
            "chain service-{name} {{ \
             {ip} daddr {} {protocol} dport {} {ip} saddr != {} jump mark-for-masquerade; {choose} }}\n\
             chain external-{name} {{ jump mark-for-masquerade; goto service-{name}; }}",
            at.ip(),
            at.port(),
            self.pods
        );
    }
}
