//! The `[[node]]` tables: each by itself, then against those before it.

use std::net::IpAddr;

use ipnet::IpNet;
use naru_core::cluster::NodeSpec;
use toml::Spanned;

use crate::{
    convert::Misfit,
    error::Problem,
    networks,
    raw::{List, Node},
};

/// The nodes in the order of their names.
pub fn list(raw: &[Node], ranges: &[IpNet]) -> Result<Vec<NodeSpec>, Misfit> {
    if raw.is_empty() {
        return Err(Misfit { at: usize::MAX, problem: Problem::NoNodes });
    }
    let mut nodes: Vec<NodeSpec> = Vec::with_capacity(raw.len());
    for entry in raw {
        let node = NodeSpec {
            name: name(&entry.name, &nodes)?,
            addresses: addresses(&entry.addresses, &nodes, ranges)?,
            blocks: blocks(&entry.blocks, &nodes, ranges)?,
        };
        nodes.push(node);
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

fn name(entry: &Spanned<String>, before: &[NodeSpec]) -> Result<String, Misfit> {
    let name = entry.get_ref();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !(1..=253).contains(&name.len()) || !name.chars().all(is_allowed) {
        return Err(Misfit::new(entry, Problem::BadName(name.clone())));
    }
    if before.iter().any(|node| node.name == *name) {
        return Err(Misfit::new(entry, Problem::DuplicateName(name.clone())));
    }
    Ok(name.clone())
}

fn addresses(list: &Spanned<List>, before: &[NodeSpec], ranges: &[IpNet]) -> Result<Vec<IpAddr>, Misfit> {
    let mut addresses = Vec::new();
    for entry in list.get_ref() {
        let address = address(entry, ranges)?;
        if let Some(owner) = before.iter().find(|node| node.addresses.contains(&address)) {
            return Err(Misfit::new(entry, Problem::DuplicateAddress { address, owner: owner.name.clone() }));
        }
        if addresses.contains(&address) {
            return Err(Misfit::new(entry, Problem::DuplicateAddress { address, owner: "itself".into() }));
        }
        addresses.push(address);
    }
    let Some(first) = addresses.first().copied() else { return Err(Misfit::new(list, Problem::Empty)) };
    match before.first() {
        Some(other) if other.underlay().is_some_and(|underlay| underlay.is_ipv4() != first.is_ipv4()) => {
            Err(Misfit::new(list, Problem::MixedUnderlay { address: first, other: other.name.clone() }))
        }
        _ => Ok(addresses),
    }
}

fn address(entry: &Spanned<String>, ranges: &[IpNet]) -> Result<IpAddr, Misfit> {
    let text = entry.get_ref();
    let address: IpAddr =
        text.parse().map_err(|_| Misfit::new(entry, Problem::NotAnAddress(text.clone())))?;
    if !is_usable(address) {
        return Err(Misfit::new(entry, Problem::UnusableAddress(address)));
    }
    match ranges.iter().find(|range| range.contains(&address)) {
        Some(range) => Err(Misfit::new(entry, Problem::AddressInRange { address, range: *range })),
        None => Ok(address),
    }
}

/// Whether a node may have this address towards others.
fn is_usable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(is_link_local || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

fn blocks(list: &Spanned<List>, before: &[NodeSpec], ranges: &[IpNet]) -> Result<Vec<IpNet>, Misfit> {
    let blocks = networks::list(list)?;
    if blocks.is_empty() {
        return Err(Misfit::new(list, Problem::Empty));
    }
    for (entry, block) in list.get_ref().iter().zip(&blocks) {
        if !ranges.iter().any(|range| range.contains(block)) {
            return Err(Misfit::new(entry, Problem::OutsideRanges(*block)));
        }
        if let Some((owner, other)) = taken(*block, before) {
            let owner = owner.name.clone();
            return Err(Misfit::new(entry, Problem::BlockTaken { block: *block, other, owner }));
        }
    }
    Ok(blocks)
}

/// The node before that has a block in common with `block`, and which.
fn taken(block: IpNet, before: &[NodeSpec]) -> Option<(&NodeSpec, IpNet)> {
    before.iter().find_map(|node| {
        let other = node.blocks.iter().copied().find(|other| networks::overlap(*other, block))?;
        Some((node, other))
    })
}
