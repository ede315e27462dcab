use std::fmt::Write;

use anyhow::Context;
use naru_sandbox::netns;

use super::nft;

/// Services in the table that every new connection is looked up in.
const SERVICES: u16 = 50;
/// Makes packets of a bridge pass the hooks of IP, as Kubernetes demands of bridge plugins.
const BRIDGE_NF: &str = "net/bridge/bridge-nf-call-iptables";

/// Returns true if this kernel sends a bridge's packets through the hooks of IP when asked to.
#[must_use]
pub fn has_bridge_nf() -> bool {
    std::path::Path::new("/proc/sys").join(BRIDGE_NF).exists()
}

/// The rules of a Kubernetes node: conntrack, kube-proxy's services and filters, masquerade.
///
/// # Errors
/// `nft` refuses.
pub fn load(node: &str) -> anyhow::Result<()> {
    netns::inside(node, || netns::set_sysctl(BRIDGE_NF, "1"))?;
    nft(node, &text()).context("rules of kube-proxy")
}

/// In the shape of kube-proxy's iptables mode, but services by one lookup as in its nftables mode: a long list of
/// rules would make the baseline slower than it has to be.
fn text() -> String {
    let mut text = String::from(
        "table ip bench {
    set firewalled { type ipv4_addr . inet_proto . inet_service; }
    map services { type ipv4_addr . inet_proto . inet_service : verdict; }
    chain to-backend {
        meta l4proto tcp dnat to 10.99.0.1:8080
    }
    chain services {
        ip daddr . meta l4proto . th dport vmap @services
    }
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        jump services
    }
    chain output {
        type nat hook output priority -100; policy accept;
        jump services
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        meta mark & 0x4000 == 0x4000 masquerade
        ip saddr 10.0.0.0/8 ip daddr 10.0.0.0/8 return
        ip saddr 10.0.0.0/8 ip daddr != 224.0.0.0/4 masquerade
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state new ip daddr . meta l4proto . th dport @firewalled drop
        ct state invalid drop
        meta mark & 0x4000 == 0x4000 accept
        ct state related,established accept
    }
    chain input {
        type filter hook input priority filter; policy accept;
        ct state new ip daddr . meta l4proto . th dport @firewalled drop
        ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 ct status & dnat != dnat drop
    }
}
",
    );
    for number in 0..SERVICES {
        let (high, low) = (number / 250, number % 250 + 1);
        let _ = writeln!(
            text,
            "add element ip bench services {{ 10.96.{high}.{low} . tcp . 80 : goto to-backend }}"
        );
    }
    text
}
