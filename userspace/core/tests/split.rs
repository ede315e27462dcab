//! Even shares of a range.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::net::IpAddr;

use ipnet::IpNet;
use naru_core::split::{Share, SplitError, split};
use proptest::prelude::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn sizes(shares: &[Share]) -> Vec<u128> {
    let size = |block: &IpNet| 1_u128 << (block.max_prefix_len() - block.prefix_len());
    shares.iter().map(|share| share.blocks.iter().map(size).sum()).collect()
}

/// The number an address stands for.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Returns true if the blocks follow each other without gap from the first address of the range to its last one.
fn covers(range: IpNet, shares: &[Share]) -> bool {
    let mut next = Some(number(range.network()));
    for block in shares.iter().flat_map(|share| &share.blocks) {
        if next != Some(number(block.network())) {
            return false;
        }
        next = number(block.broadcast()).checked_add(1);
    }
    next == number(range.broadcast()).checked_add(1)
}

#[test]
fn weaves_default_range_is_split_evenly_between_one_to_sixty_four_nodes() {
    let range = net("10.32.0.0/12");
    for nodes in 1..=64 {
        let shares = split(range, nodes).unwrap();
        assert_eq!(shares.len(), nodes as usize);
        let sizes = sizes(&shares);
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 256, "{nodes}: {sizes:?}");
        assert!(covers(range, &shares), "{nodes}");
        let assignable: u128 = shares.iter().map(|share| share.assignable).sum();
        assert_eq!(assignable, 1_048_574, "{nodes}");
        assert_eq!(assignable + 2, 1_048_576, "with network and broadcast");
    }
}

#[test]
fn powers_of_two_get_one_block_each_and_three_nodes_a_few() {
    let blocks = |nodes: u32| {
        let shares = split(net("10.32.0.0/12"), nodes).unwrap();
        shares.iter().map(|share| share.blocks.clone()).collect::<Vec<_>>()
    };
    assert_eq!(blocks(1), [vec![net("10.32.0.0/12")]]);
    assert_eq!(blocks(2), [vec![net("10.32.0.0/13")], vec![net("10.40.0.0/13")]]);
    assert!(blocks(64).iter().all(|blocks| blocks.len() == 1 && blocks[0].prefix_len() == 18));
    let of_three = blocks(3);
    assert_eq!(of_three[0].first(), Some(&net("10.32.0.0/14")));
    assert!(of_three.iter().all(|blocks| blocks.len() <= 12), "{of_three:?}");
}

#[test]
fn small_ranges_are_split_by_single_addresses_and_smaller_ones_not_at_all() {
    assert_eq!(sizes(&split(net("10.0.0.0/24"), 3).unwrap()), [86, 85, 85]);
    assert_eq!(sizes(&split(net("10.0.0.0/31"), 2).unwrap()), [1, 1]);
    assert_eq!(split(net("10.0.0.0/31"), 1).unwrap()[0].assignable, 2, "RFC 3021");
    let error = split(net("10.0.0.0/30"), 5).unwrap_err();
    assert_eq!(error.to_string(), "range 10.0.0.0/30 has fewer than 5 addresses, one for each node");
    assert_eq!(split(net("10.0.0.0/30"), 0), Err(SplitError::NoNodes));
}

#[test]
fn ipv6_ranges_are_split_in_their_4096th_parts() {
    let shares = split(net("fd10:32::/48"), 3).unwrap();
    let sizes = sizes(&shares);
    assert_eq!(sizes[0] - sizes[2], 1 << 68);
    assert!(covers(net("fd10:32::/48"), &shares));
    assert_eq!(split(net("::/0"), 2).unwrap()[1].blocks, [net("8000::/1")]);
}

proptest! {
    #[test]
    fn shares_are_disjoint_even_and_the_whole_range(len in 0_u8..=32, bits: u32, nodes in 1_u32..=5000) {
        let range = IpNet::new(IpAddr::from(bits.to_be_bytes()), len).unwrap().trunc();
        let all = 1_u128 << (32 - len);
        match split(range, nodes) {
            Err(error) => {
                prop_assert!(u128::from(nodes) > all);
                prop_assert_eq!(error, SplitError::TooSmall { range, nodes });
            }
            Ok(shares) => {
                let sizes = sizes(&shares);
                prop_assert_eq!(sizes.iter().sum::<u128>(), all);
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 256);
                prop_assert!(covers(range, &shares));
            }
        }
    }

    #[test]
    fn an_ipv6_range_is_split_without_gap(len in 1_u8..=128, bits: u128, nodes in 1_u32..=100) {
        let range = IpNet::new(IpAddr::from(bits.to_be_bytes()), len).unwrap().trunc();
        if let Ok(shares) = split(range, nodes) {
            prop_assert_eq!(shares.len(), nodes as usize);
            prop_assert!(covers(range, &shares));
        }
    }
}
