//! Sysctls.

use std::collections::BTreeMap;

use naru_node::host::sysctl::{self, Families};

use super::scene::{Netns, undo_all};

const SNAPSHOT: &str = "cd /proc/sys/net; for f in ipv4/ip_forward ipv4/conf/*/forwarding ipv6/conf/*/forwarding \
     ipv6/conf/*/accept_ra ipv4/conf/*/accept_redirects; do echo $f $(cat $f); done";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn forwarding_is_switched_on_and_every_value_of_before_comes_back() {
    let netns = Netns::new();
    netns.sh("ip link add up0 type veth peer name up1; ip link add up2 type veth peer name up3");
    netns.sh("sysctl -qw net.ipv6.conf.up2.forwarding=1 net.ipv4.conf.up2.forwarding=1 net.ipv6.conf.up0.accept_ra=1");
    netns.sh("sysctl -qw net.ipv4.conf.all.accept_redirects=0");
    let before = netns.sh(SNAPSHOT);
    let mut journal = BTreeMap::new();
    netns.run(|| {
        let both = Families { v4: true, v6: true };
        sysctl::forward_packets(both, false, &mut journal).unwrap();
        let after_first = journal.clone();
        sysctl::forward_packets(both, false, &mut journal).unwrap();
        assert_eq!(journal, after_first);
        assert_eq!(sysctl::read("net/ipv4/ip_forward").unwrap().as_deref(), Some("1"));
        assert_eq!(sysctl::read("net/ipv6/conf/all/forwarding").unwrap().as_deref(), Some("1"));
        assert_eq!(sysctl::read("net/ipv6/conf/up0/accept_ra").unwrap().as_deref(), Some("2"));
    });
    assert_ne!(netns.sh(SNAPSHOT), before);
    netns.sh("ip link del up1");
    netns.run(|| undo_all(&journal));
    let gone = |line: &&str| !line.contains("/up0/") && !line.contains("/up1/");
    let expected: Vec<&str> = before.lines().filter(gone).collect();
    assert_eq!(netns.sh(SNAPSHOT).lines().collect::<Vec<_>>(), expected);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_device_of_ours_is_loose_and_forwards_whatever_the_defaults_say() {
    let netns = Netns::new();
    netns.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv6.conf.default.disable_ipv6=1");
    netns.sh("ip link add naruaa type veth peer name b");
    netns.run(|| {
        sysctl::prepare_device("naruaa", Families { v4: true, v6: true }).unwrap();
        for (key, value) in [
            ("ipv4/conf/naruaa/rp_filter", "2"),
            ("ipv4/conf/naruaa/forwarding", "1"),
            ("ipv6/conf/naruaa/disable_ipv6", "0"),
            ("ipv6/conf/naruaa/forwarding", "1"),
        ] {
            assert_eq!(sysctl::read(&format!("net/{key}")).unwrap().as_deref(), Some(value), "{key}");
        }
        let error = sysctl::prepare_device("nosuch", Families { v4: true, v6: false }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/sys/net/ipv4/conf/nosuch/rp_filter: write 2: no such file or directory"
        );
    });
}
