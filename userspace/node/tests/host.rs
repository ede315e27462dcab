//! The host's adapters against the running kernel and its tools, each test in namespaces of its own.

#![expect(clippy::unwrap_used, reason = "a failing step of a test ends it")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use naru_node::host::{
    HostError, NetnsIdentity, boot_id, current_netns, ensure_bpffs,
    firewall::{self, CounterValue, FORWARDED, Firewall, INVALID_TO_OUTSIDE},
    forward, is_bpffs, netns_identity, open_netns,
    sysctl::{self, Families},
    undo, unmount_bpffs,
};
use support::Netns;

/// Undoes everything in the journal, as uninstall does.
fn undo_all(journal: &BTreeMap<String, String>) {
    for (key, former) in journal {
        undo(key, former).unwrap();
        undo(key, former).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_is_told_from_every_other_and_from_its_successor() {
    let (one, other) = (Netns::new(), Netns::new());
    let identity = netns_identity(one.fd()).unwrap();
    assert_eq!(identity, netns_identity(one.fd()).unwrap());
    assert_ne!(identity, netns_identity(other.fd()).unwrap());
    assert!(identity.cookie.is_some(), "this kernel has cookies");
    let own = one.run(|| netns_identity(current_netns().unwrap().as_fd()).unwrap());
    assert_eq!(own, identity);
    drop(one);
    for _ in 0..64 {
        let successor: NetnsIdentity = netns_identity(Netns::new().fd()).unwrap();
        assert_ne!(successor.cookie, identity.cookie);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_path_that_is_no_network_namespace_is_refused_with_what_it_is() {
    let netns = Netns::new();
    open_netns(Path::new(&format!("/proc/self/fd/{}", netns.fd().as_raw_fd()))).unwrap();
    let plain = tempfile::NamedTempFile::new().unwrap();
    let error = open_netns(plain.path()).unwrap_err();
    assert!(matches!(error, HostError::NotANetns { .. }), "{error}");
    let error = open_netns(Path::new("/proc/self/ns/mnt")).unwrap_err();
    assert_eq!(error.to_string(), "/proc/self/ns/mnt: no network namespace: a namespace of another kind");
    let error = open_netns(Path::new("/run/netns/naru-no-such")).unwrap_err();
    assert_eq!(error.to_string(), "/run/netns/naru-no-such: open: no such file or directory");
    assert_eq!(error.errno(), Some(libc::ENOENT));
}

#[test]
fn the_boot_id_is_one_line() {
    assert!(!boot_id().unwrap().contains('\n'));
}

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
        sysctl::forward_packets(both, &["up0".to_owned()], &mut journal).unwrap();
        let after_first = journal.clone();
        sysctl::forward_packets(both, &["up0".to_owned()], &mut journal).unwrap();
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

fn firewall() -> Firewall {
    Firewall {
        masquerade: ["10.32.0.0/24", "fd10:32::/112"].map(|prefix| prefix.parse().unwrap()).into(),
        direct: ["10.32.0.0/12", "fd10:32::/48", "10.32.1.0/24"].map(|prefix| prefix.parse().unwrap()).into(),
        tunnel_port: Some(8472),
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_table_is_applied_once_and_again_when_it_differs_in_anything() {
    let netns = Netns::new();
    netns.run(|| {
        assert!(firewall::apply(&firewall()).unwrap());
        assert!(!firewall::apply(&firewall()).unwrap());
    });
    let whole = netns.sh("nft list ruleset");
    netns.sh("nft flush chain inet naru postrouting");
    assert!(netns.run(|| firewall::apply(&firewall()).unwrap()), "rules were taken out");
    assert_eq!(netns.sh("nft list ruleset"), whole);
    netns.sh("nft flush ruleset");
    assert!(netns.run(|| firewall::apply(&firewall()).unwrap()), "the table was taken away");
    assert_eq!(netns.sh("nft list ruleset"), whole);
    let other = Firewall { tunnel_port: None, ..firewall() };
    assert!(netns.run(|| firewall::apply(&other).unwrap()), "another content");
    assert!(!netns.sh("nft list ruleset").contains("notrack"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn counters_keep_their_values_when_the_table_is_made_anew() {
    let netns = Netns::new();
    netns.run(|| {
        assert_eq!(firewall::counters().unwrap(), None);
        firewall::apply(&firewall()).unwrap();
        let zero = CounterValue::default();
        let expected = [(FORWARDED.to_owned(), zero), (INVALID_TO_OUTSIDE.to_owned(), zero)].into();
        assert_eq!(firewall::counters().unwrap(), Some(expected));
    });
    netns.sh("nft add chain inet naru probe '{ type filter hook output priority 0; }'");
    netns.sh("nft add rule inet naru probe counter name forwarded; ip link set lo up; ping -c 3 -i 0.01 -q 127.0.0.1");
    netns.run(|| {
        let packets = || firewall::counters().unwrap().unwrap()[FORWARDED].packets;
        assert_eq!(packets(), 6);
        assert!(firewall::apply(&firewall()).unwrap());
        assert_eq!(packets(), 6);
        assert!(firewall::delete().unwrap());
        assert!(!firewall::delete().unwrap());
    });
    assert_eq!(netns.sh("nft list ruleset"), "");
}

/// Opens and closes the exception in what `make` sets up; `show` must be the same before and after.
fn exception_leaves_no_trace(make: &str, show: &str, expected: &[&str], mark: &str) {
    let netns = Netns::new();
    netns.sh(make);
    let before = netns.sh(show);
    let mut journal = BTreeMap::new();
    let chains = netns.run(|| forward::open(&mut journal).unwrap());
    let names: Vec<String> = chains.iter().map(ToString::to_string).collect();
    assert_eq!(names, expected, "{make}");
    let opened = netns.sh(show);
    assert_eq!(opened.matches(mark).count(), 2 * expected.len(), "{opened}");
    netns.run(|| assert_eq!(forward::open(&mut journal).unwrap(), chains));
    assert_eq!(netns.sh(show), opened, "a second time changes nothing");
    assert_eq!(journal.len(), expected.len());
    netns.run(|| undo_all(&journal));
    assert_eq!(netns.sh(show), before);
}

const NFT: &str = "nft list ruleset";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exception_in_a_drop_policy_of_nftables_leaves_no_trace() {
    let make = "nft add table inet fw; nft add chain inet fw f '{ type filter hook forward priority 0; policy drop; }'; \
         nft add rule inet fw f ct state established,related accept; nft add rule inet fw f tcp dport 22 accept comment naru";
    exception_leaves_no_trace(make, NFT, &["nft inet fw f"], "naru*\" accept comment \"naru\"");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exception_before_a_final_reject_of_nftables_leaves_no_trace() {
    let make = "nft add table ip6 fw; nft add chain ip6 fw f '{ type filter hook forward priority 10; }'; \
         nft add chain ip6 fw end; nft add rule ip6 fw end counter reject; nft add rule ip6 fw f jump end; \
         nft add table ip mild; nft add chain ip mild f '{ type filter hook forward priority 0; }'; \
         nft add rule ip mild f iifname eth9 drop; \
         nft add table inet other; nft add chain inet other i '{ type filter hook input priority 0; policy drop; }'";
    exception_leaves_no_trace(make, NFT, &["nft ip6 fw f"], "naru*\" accept comment \"naru\"");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exception_in_iptables_nft_leaves_no_trace() {
    let make = "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -s 192.0.2.1/32 -m comment --comment 'a \"b\" c' -j ACCEPT; \
         ip6tables-nft -A FORWARD -j REJECT";
    let show = "iptables-nft -S; ip6tables-nft -S; nft list ruleset";
    let netns = Netns::new();
    netns.sh(make);
    let show_tools = "iptables-nft -S; ip6tables-nft -S";
    exception_leaves_no_trace(
        make,
        show_tools,
        &["iptables-nft", "ip6tables-nft"],
        "naru+ -m comment --comment naru -j ACCEPT",
    );
    let before = netns.sh(show);
    netns.run(|| {
        let mut journal = BTreeMap::new();
        forward::open(&mut journal).unwrap();
        undo_all(&journal);
    });
    assert_eq!(netns.sh(show), before);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exception_in_iptables_legacy_leaves_no_trace() {
    let make = "iptables-legacy -P FORWARD DROP; iptables-legacy -A FORWARD -i eth9 -j ACCEPT; \
         ip6tables-legacy -A FORWARD -j DROP";
    let show = "iptables-legacy -S; ip6tables-legacy -S; nft list ruleset";
    exception_leaves_no_trace(
        make,
        show,
        &["iptables-legacy", "ip6tables-legacy"],
        "naru+ -m comment --comment naru -j ACCEPT",
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exception_that_lost_its_place_at_the_head_gets_it_back() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -P FORWARD DROP; nft add table ip fw");
    netns.sh("nft add chain ip fw f '{ type filter hook forward priority 0; policy drop; }'");
    let mut journal = BTreeMap::new();
    let shown = netns.run(|| {
        forward::open(&mut journal).unwrap();
        netns.sh("iptables-legacy -S; nft list ruleset")
    });
    netns.sh("iptables-legacy -I FORWARD -j LOG; nft insert rule ip fw f counter");
    netns.run(|| forward::open(&mut journal).unwrap());
    netns.sh("iptables-legacy -D FORWARD -j LOG");
    let after = netns.sh("iptables-legacy -S; nft list ruleset");
    assert_eq!(after.replace("\t\tcounter packets 0 bytes 0\n", ""), shown);
    assert!(after.find("naru").unwrap() < after.find("counter packets").unwrap(), "{after}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_machine_without_drops_is_left_alone_and_gets_no_legacy_tables() {
    let netns = Netns::new();
    netns.run(|| {
        let mut journal = BTreeMap::new();
        firewall::apply(&firewall()).unwrap();
        assert!(forward::open(&mut journal).unwrap().is_empty());
        assert!(journal.is_empty());
        for list in ["ip_tables_names", "ip6_tables_names"] {
            let names = fs::read_to_string(format!("/proc/thread-self/net/{list}")).unwrap_or_default();
            assert_eq!(names, "");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bpffs_is_mounted_once_and_unmounted_by_its_journal_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bpf");
    // A mount namespace of its own: nothing stays mounted whatever happens.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: only this thread leaves its mount namespace, and it ends right after.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let mut journal = BTreeMap::new();
            assert!(!is_bpffs(&path).unwrap());
            assert!(ensure_bpffs(&path, &mut journal).unwrap());
            assert!(!ensure_bpffs(&path, &mut journal).unwrap());
            let below = path.join("abi1");
            assert!(!ensure_bpffs(&below, &mut journal).unwrap(), "a directory on a bpffs is used as it is");
            assert!(!unmount_bpffs(&below).unwrap(), "and is not ours to unmount");
            assert!(is_bpffs(&path).unwrap());
            undo_all(&journal);
            assert!(!is_bpffs(&path).unwrap());
        });
    });
}

#[test]
fn a_journal_entry_of_an_unknown_kind_is_an_error_that_names_it() {
    for key in ["nonsense", "forward rm-rf", "forward nft too few", "what is this"] {
        let error = undo(key, "").unwrap_err();
        assert_eq!(error.to_string(), format!("{key}: nothing of this version can undo that"));
    }
}
