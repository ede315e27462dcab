//! Exceptions in foreign FORWARD chains.

use std::{collections::BTreeMap, fs};

use naru_node::host::{firewall, forward};

use super::scene::{Netns, firewall, undo_all};

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
    let make = "nft add table inet fw; \
         nft add chain inet fw f '{ type filter hook forward priority 0; policy drop; }'; \
         nft add rule inet fw f ct state established,related accept; \
         nft add rule inet fw f tcp dport 22 accept comment naru";
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
    let make = "iptables-nft -P FORWARD DROP; \
         iptables-nft -A FORWARD -s 192.0.2.1/32 -m comment --comment 'a \"b\" c' -j ACCEPT; \
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
fn a_chain_with_the_names_of_iptables_that_nft_made_gets_its_exception_too() {
    let make = "nft add table ip filter; nft add set ip filter s '{ type ipv4_addr; }'; \
         nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'; \
         nft add rule ip filter FORWARD ip saddr @s ct state vmap '{ new : accept, invalid : drop }'";
    let netns = Netns::new();
    netns.sh(make);
    let before = netns.sh(NFT);
    netns.run(|| {
        let mut journal = BTreeMap::new();
        let chains = forward::open(&mut journal).unwrap();
        assert_eq!(chains.len(), 1);
        assert_eq!(netns.sh(NFT).matches("\"naru*\"").count() + netns.sh(NFT).matches("naru+").count(), 2);
        undo_all(&journal);
    });
    assert_eq!(netns.sh(NFT), before);
}

const TOOLS: [(&str, &str); 2] = [("iptables-nft", "ip"), ("ip6tables-nft", "ip6")];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exception_in_iptables_nft_is_what_the_tool_itself_writes_and_it_goes_on_working() {
    let (ours, theirs) = (Netns::new(), Netns::new());
    for (tool, _) in TOOLS {
        for netns in [&ours, &theirs] {
            netns.sh(&format!("{tool} -P FORWARD DROP; {tool} -A FORWARD -i eth9 -j ACCEPT"));
        }
        for direction in ["-o", "-i"] {
            theirs.sh(&format!("{tool} -I FORWARD 1 {direction} naru+ -m comment --comment naru -j ACCEPT"));
        }
    }
    let mut journal = BTreeMap::new();
    ours.run(|| forward::open(&mut journal).unwrap());
    let agree = |what: &str| {
        for (tool, family) in TOOLS {
            let kernel = format!("nft --debug=netlink list table {family} filter 2>&1");
            for show in [format!("{tool} -S"), format!("{tool}-save | grep -v ^#"), kernel] {
                assert_eq!(ours.sh(&show), theirs.sh(&show), "{what}: {show}");
            }
        }
    };
    agree("made");
    for (tool, _) in TOOLS {
        let shown = ours.sh(&format!("{tool} -S FORWARD"));
        let ours_of = "-A FORWARD -i naru+ -m comment --comment naru -j ACCEPT";
        assert_eq!(shown.lines().nth(1), Some(ours_of), "{shown}");
    }
    for change in [
        "-C FORWARD -o naru+ -m comment --comment naru -j ACCEPT",
        "-A FORWARD -p tcp --dport 22 -m comment --comment \"mine\" -j ACCEPT",
        "-D FORWARD -i eth9 -j ACCEPT",
        "-D FORWARD -i naru+ -m comment --comment naru -j ACCEPT",
    ] {
        for (tool, _) in TOOLS {
            ours.sh(&format!("{tool} {change}"));
            theirs.sh(&format!("{tool} {change}"));
        }
        agree(change);
    }
    ours.run(|| undo_all(&journal));
    for (tool, _) in TOOLS {
        assert!(!ours.sh(&format!("{tool} -S")).contains("naru"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn exceptions_that_older_versions_made_with_tools_are_kept_where_they_are_right_and_removed() {
    let nft = "nft insert rule inet fw f oifname '\"naru*\"' accept comment '\"naru\"'; \
         nft insert rule inet fw f iifname '\"naru*\"' accept comment '\"naru\"'";
    let iptables = "iptables-nft -I FORWARD 1 -o naru+ -m comment --comment naru -j ACCEPT; \
         iptables-nft -I FORWARD 1 -i naru+ -m comment --comment naru -j ACCEPT";
    for (chain, make, open) in [
        (
            "nft inet fw f",
            "nft add table inet fw; nft add chain inet fw f '{ type filter hook forward priority 0; policy drop; }'",
            nft,
        ),
        ("iptables-nft", "iptables-nft -P FORWARD DROP", iptables),
    ] {
        let netns = Netns::new();
        netns.sh(make);
        let before = netns.sh("nft list ruleset");
        netns.sh(open);
        let opened = netns.sh("nft -a list ruleset");
        let mut journal = BTreeMap::from([(format!("forward {chain}"), String::new())]);
        netns.run(|| forward::open(&mut journal).unwrap());
        assert_eq!(journal.len(), 1, "{journal:?}");
        assert_eq!(netns.sh("nft -a list ruleset"), opened, "{chain}: they are as they should be");
        netns.sh(open);
        netns.run(|| forward::open(&mut journal).unwrap());
        assert_eq!(netns.sh("nft list ruleset").matches("naru*").count(), 2, "{chain}: two are enough");
        netns.run(|| undo_all(&journal));
        assert_eq!(netns.sh("nft list ruleset"), before);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn rules_with_parts_that_are_not_known_decide_about_nobody() {
    let netns = Netns::new();
    netns.sh("nft add table inet t; nft add chain inet t f '{ type filter hook forward priority 0; }'; \
         nft add chain inet t end; nft add rule inet t end drop; \
         nft add rule inet t f limit rate 10/second drop; nft add rule inet t f numgen random mod 2 0 drop; \
         nft add rule inet t f tcp dport vmap '{ 22 : drop }'; nft add rule inet t f ct mark 7 jump end; \
         nft add rule inet t f meta mark set 1; nft add rule inet t f quota over 25 mbytes reject");
    netns.run(|| assert_eq!(forward::dropping().unwrap(), []));
    netns.sh("nft add rule inet t f jump end");
    netns.run(|| assert_eq!(forward::dropping().unwrap().len(), 1));
    netns.sh("nft insert rule inet t f accept");
    netns.run(|| assert_eq!(forward::dropping().unwrap(), [], "every packet is accepted before"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn legacy_tables_without_their_tool_are_told_of_and_fail_nothing() {
    let netns = Netns::new();
    netns.sh("iptables-legacy -P FORWARD DROP; nft add table ip fw");
    netns.sh("nft add chain ip fw f '{ type filter hook forward priority 0; policy drop; }'");
    let mut journal = BTreeMap::new();
    netns.run(|| {
        assert_eq!(forward::unreadable().unwrap(), [""; 0]);
        without_tools(|| {
            assert_eq!(forward::unreadable().unwrap(), ["iptables-legacy"]);
            let chains = forward::open(&mut journal).unwrap();
            assert_eq!(chains.iter().map(ToString::to_string).collect::<Vec<_>>(), ["nft ip fw f"]);
            undo_all(&journal);
            undo_all(&BTreeMap::from([("forward iptables-legacy".to_owned(), String::new())]));
        });
    });
}

/// Runs `work` on a thread that sees no tool of any firewall.
fn without_tools(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: only this thread leaves its mount namespace, and it ends right after.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            for tool in ["nft", "iptables-nft", "iptables-legacy"] {
                let file = fs::canonicalize(format!("/usr/sbin/{tool}")).unwrap();
                rustix::mount::mount_bind("/dev/null", file).unwrap();
            }
            work();
        });
    });
}
