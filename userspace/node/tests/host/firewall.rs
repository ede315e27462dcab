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
