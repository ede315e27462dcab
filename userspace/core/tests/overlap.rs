//! Pod ranges compared with other addresses in use.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use ipnet::IpNet;
use naru_core::overlap::{Claim, Clash, Holder, Suggestion, clashes};
use proptest::{collection, prelude::*};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn claim(network: &str, holder: Holder) -> Claim {
    Claim { network: net(network), holder, device: None }
}

fn only_clash(range: &str, claims: &[Claim]) -> String {
    let clashes = clashes(&[net(range)], claims);
    assert_eq!(clashes.len(), 1, "{range}");
    clashes[0].to_string()
}

#[test]
fn ranges_that_nobody_uses_are_accepted() {
    let claims = [claim("192.168.1.0/24", Holder::HostRoute), claim("10.96.0.0/12", Holder::Services)];
    assert!(clashes(&[net("10.32.0.0/12"), net("fd10:32::/48")], &claims).is_empty());
}

#[test]
fn a_clash_names_both_sides_and_suggests_a_free_range() {
    let text = only_clash("10.0.0.0/12", &[claim("10.1.2.3/32", Holder::NodeAddress)]);
    assert_eq!(
        text,
        "pod range 10.0.0.0/12 overlaps 10.1.2.3/32, an address of this machine; 10.16.0.0/12 is free"
    );
}

/// Networks in use, each with the answer if a pod range of 10.32.0.0/12 can be beside it. A covering route only leads
/// to addresses: a pod's own is more specific.
#[test]
fn what_lies_in_the_range_is_a_clash_and_what_covers_it_is_one_only_where_its_addresses_are_somebodys() {
    for (network, holder, is_clash) in [
        ("0.0.0.0/1", Holder::HostRoute, false),
        ("10.0.0.0/8", Holder::HostRoute, false),
        ("10.0.0.0/8", Holder::LinkPrefix, false),
        ("10.32.0.0/12", Holder::HostRoute, true),
        ("10.40.0.0/16", Holder::HostRoute, true),
        ("10.40.0.0/16", Holder::LinkPrefix, true),
        ("10.40.0.1/32", Holder::NodeAddress, true),
        ("10.40.0.1/32", Holder::RemoteNode, true),
        ("10.0.0.0/8", Holder::Services, true),
        ("10.0.0.0/8", Holder::PodRange, true),
    ] {
        let found = clashes(&[net("10.32.0.0/12")], &[claim(network, holder.clone())]);
        assert_eq!(!found.is_empty(), is_clash, "{network}, {holder}");
    }
}

#[test]
fn the_interface_that_has_the_addresses_is_named() {
    let claim = Claim { device: Some("cni0".into()), ..claim("10.32.0.0/16", Holder::LinkPrefix) };
    let text = only_clash("10.32.0.0/12", &[claim]);
    let expected =
        "pod range 10.32.0.0/12 overlaps 10.32.0.0/16, the prefix of a link of this machine (cni0); ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn both_families_are_checked_and_answered_in_their_own() {
    let text = only_clash("fd10:32::/48", &[claim("fd10:32:0:5::/64", Holder::Services)]);
    assert_eq!(
        text,
        "pod range fd10:32::/48 overlaps fd10:32:0:5::/64, the service range; fd00::/48 is free"
    );
}

#[test]
fn what_standards_fix_is_nobodys_pod_range() {
    for range in [
        "127.0.0.0/16",
        "169.254.0.0/17",
        "224.0.0.0/8",
        "240.1.0.0/16",
        "0.0.0.0/1",
        "fe80::/64",
        "ff00::/16",
        "::/96",
    ] {
        assert!(only_clash(range, &[]).contains(&format!("pod range {range} overlaps ")), "{range}");
    }
}

#[test]
fn without_room_no_range_is_suggested() {
    let claims = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
        .map(|n| claim(n, Holder::Services));
    let text = only_clash("10.32.0.0/12", &claims);
    assert!(text.ends_with("; no private range of this size is free"), "{text}");
}

#[test]
fn where_pods_cannot_have_another_range_none_is_suggested() {
    let claims = [claim("10.244.0.0/24", Holder::LinkPrefix)];
    let clash = clashes(&["10.244.0.0/24".parse().unwrap()], &claims).remove(0);
    let text = Clash { suggestion: Suggestion::Fixed, ..clash }.to_string();
    assert!(text.ends_with("; the pods' ranges are fixed: take that away, or use --allow-overlap"), "{text}");
}

#[test]
fn two_clashing_ranges_get_two_suggestions() {
    let claims = [claim("10.0.0.0/9", Holder::Services)];
    let found = clashes(&[net("10.0.0.0/16"), net("10.1.0.0/16")], &claims);
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].suggestion, found[1].suggestion);
}

fn networks() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u32>(), 4u8..=32).prop_map(|(ip, len)| {
        let ip = (ip >> 8) | 10 << 24;
        IpNet::new(std::net::Ipv4Addr::from(ip).into(), len).unwrap().trunc()
    });
    let v6 = (any::<u128>(), 8u8..=128).prop_map(|(ip, len)| {
        let ip = (ip >> 16) | 0xfd00 << 112;
        IpNet::new(std::net::Ipv6Addr::from(ip).into(), len).unwrap().trunc()
    });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn a_suggestion_is_of_the_same_size_and_clashes_with_nothing(
        range in networks(),
        taken in collection::vec(networks(), 0..40),
    ) {
        let claims: Vec<Claim> =
            taken.iter().map(|network| claim(&network.to_string(), Holder::HostRoute)).collect();
        for clash in clashes(&[range], &claims) {
            let Suggestion::Free(suggestion) = clash.suggestion else { continue };
            prop_assert_eq!(suggestion.prefix_len(), range.prefix_len());
            prop_assert_eq!(suggestion, suggestion.trunc());
            prop_assert_eq!(clashes(&[suggestion], &claims), vec![]);
        }
    }

    #[test]
    fn exactly_the_overlapping_ranges_clash(range in networks(), other in networks(), is_route in any::<bool>()) {
        let holder = if is_route { Holder::HostRoute } else { Holder::Services };
        let claims = [Claim { network: other, holder: holder.clone(), device: None }];
        let overlap = range.contains(&other) || (!is_route && other.contains(&range));
        let clashes = clashes(&[range], &claims);
        let by_claim = clashes.iter().any(|clash| clash.claim.holder == holder);
        let by_standard = clashes.iter().any(|clash| matches!(clash.claim.holder, Holder::Standard(_)));
        prop_assert!(by_standard || by_claim == overlap);
    }
}
