//! The nftables table.

use naru_node::host::firewall::{self, COUNTERS, CounterValue, FORWARDED, Firewall};

use super::scene::{Netns, firewall};

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
    let other = Firewall { tunnel: None, ..firewall() };
    assert!(netns.run(|| firewall::apply(&other).unwrap()), "another content");
    assert!(!netns.sh("nft list ruleset").contains("notrack"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_change_that_leaves_the_number_of_rules_is_undone_too() {
    let netns = Netns::new();
    let apply = || netns.run(|| firewall::apply(&firewall()).unwrap());
    apply();
    let whole = netns.sh("nft list ruleset");
    let handle = |rule: &str| {
        let list = netns.sh("nft -a list table inet naru");
        let line = list.lines().find(|line| line.contains(rule)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    for change in [
        format!("nft replace rule inet naru postrouting handle {} accept", handle("masquerade fully-random")),
        "nft add element inet naru direct_v4 '{ 203.0.113.0/24 }'".to_owned(),
        "nft delete element inet naru masquerade_v4 '{ 10.32.0.0/24 }'".to_owned(),
        "nft add chain inet naru forward '{ policy drop; }'".to_owned(),
        "nft add chain inet naru mine".to_owned(),
        "nft add set inet naru mine '{ type ipv4_addr; }'".to_owned(),
    ] {
        netns.sh(&change);
        assert!(apply(), "{change}");
        assert_eq!(netns.sh("nft list ruleset"), whole, "{change}");
        assert!(!apply(), "{change}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn counters_keep_their_values_when_the_table_is_made_anew() {
    let netns = Netns::new();
    netns.run(|| {
        assert_eq!(firewall::counters().unwrap(), None);
        firewall::apply(&firewall()).unwrap();
        let zero = CounterValue::default();
        let expected = COUNTERS.map(|name| (name.to_owned(), zero)).into();
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
