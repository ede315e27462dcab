//! The nftables table, with nft as an independent witness.

use std::net::IpAddr;

use naru_node::host::firewall::{
    self, COUNTERS, CounterValue, FORWARDED, Firewall, INVALID_TO_OUTSIDE, Tunnel,
};
use serde_json::Value;

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

/// nft's listing of the table without handles and without the parts that differ by table: mark, seal and counted
/// packets.
fn listed(netns: &Netns) -> Vec<Value> {
    let text = netns.sh("nft -j list table inet naru");
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let mut list: Vec<Value> = document["nftables"].as_array_mut().unwrap().split_off(1);
    list.retain(|one| !one["chain"]["name"].as_str().is_some_and(|name| name.starts_with("seal_")));
    for fields in list.iter_mut().flat_map(|one| one.as_object_mut().unwrap().values_mut()) {
        let fields = fields.as_object_mut().unwrap();
        fields.retain(|key, _| !["handle", "packets", "bytes"].contains(&key.as_str()));
        if let Some(comment) = fields.get_mut("comment") {
            assert!(comment.as_str().unwrap().starts_with("naru:"));
            *comment = Value::from("the mark");
        }
    }
    list
}

/// The tables that older versions made by nft, sealed and marked as they did.
const OLDER: [&str; 2] = [include_str!("own_port.nft"), include_str!("shared_port.nft")];

fn made_by_nft(text: &str) -> Netns {
    let netns = Netns::new();
    netns.sh(&format!("nft -f - <<'END'\n{text}END"));
    netns
}

fn prefixes(list: &[&str]) -> Vec<ipnet::IpNet> {
    list.iter().map(|prefix| prefix.parse().unwrap()).collect()
}

fn on_a_shared_port() -> Firewall {
    let addresses = ["198.51.100.2", "198.51.100.1", "2001:db8::1"].map(|a| a.parse::<IpAddr>().unwrap());
    Firewall {
        masquerade: prefixes(&["10.0.2.0/24", "10.0.1.0/24", "224.0.0.0/3"]),
        direct: prefixes(&["0.0.0.0/0", "fd10:32::/48", "fd10:33::5/128", "ff00::/8", "fd10:32::/64"]),
        tunnel: Some(Tunnel { port: 8472, device_port: 18472, vni: 5230, addresses: addresses.into() }),
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_table_is_what_nft_makes_of_the_same_rules() {
    for (text, firewall) in [(OLDER[0], firewall()), (OLDER[1], on_a_shared_port())] {
        let (by_nft, ours) = (made_by_nft(text), Netns::new());
        ours.run(|| assert!(firewall::apply(&firewall).unwrap()));
        assert_eq!(listed(&ours), listed(&by_nft));
        ours.run(|| assert!(!firewall::apply(&firewall).unwrap()));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_table_of_an_older_version_is_made_anew_once_and_keeps_its_counters() {
    let netns = made_by_nft(OLDER[0]);
    netns.run(|| {
        assert_eq!(firewall::intact(None).unwrap(), None);
        assert!(firewall::apply(&firewall()).unwrap());
        assert!(!firewall::apply(&firewall()).unwrap());
        let counters = firewall::counters().unwrap().unwrap();
        assert_eq!(counters[FORWARDED], CounterValue { packets: 7, bytes: 700 });
        assert_eq!(counters[INVALID_TO_OUTSIDE], CounterValue { packets: 3, bytes: 180 });
        assert!(firewall::intact(None).unwrap().is_some());
    });
    assert_eq!(netns.sh("nft list chains inet").matches("chain seal_").count(), 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_table_that_is_gone_or_changed_is_not_intact_whatever_was_seen_before() {
    let netns = Netns::new();
    let intact = |known| netns.run(move || firewall::intact(known).unwrap());
    let apply = || netns.run(|| firewall::apply(&firewall()).unwrap());
    assert_eq!(intact(None), None);
    apply();
    let first = intact(None);
    assert!(first.is_some());
    assert_eq!(intact(first), first);
    netns.sh("nft add table ip others");
    let second = intact(first);
    assert!(second.is_some() && second != first, "the rules are at another generation");
    assert_eq!(intact(second), second);
    netns.sh("nft add element inet naru direct_v4 '{ 203.0.113.0/24 }'");
    assert_eq!((intact(second), intact(None)), (None, None));
    assert!(apply());
    let third = intact(None);
    netns.sh("nft delete table inet naru");
    assert_eq!((intact(third), intact(None)), (None, None));
    assert!(apply());
    assert!(intact(third).is_some_and(|fourth| Some(fourth) != third), "it is another table");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_table_is_made_while_others_change_their_rules() {
    let netns = Netns::new();
    netns.run(|| {
        std::thread::scope(|scope| {
            // A thread of a namespace's own starts where its parent is.
            let others = scope.spawn(|| {
                netns.sh("for i in $(seq 100); do nft add table ip t; nft delete table ip t; done")
            });
            let mut made = 0;
            while !others.is_finished() {
                made += u32::from(firewall::apply(&firewall()).unwrap());
                assert!(firewall::intact(None).unwrap().is_some());
                made += u32::from(firewall::apply(&on_a_shared_port()).unwrap());
            }
            assert!(made > 1);
            others.join().unwrap();
        });
        assert!(!firewall::apply(&on_a_shared_port()).unwrap());
    });
}
