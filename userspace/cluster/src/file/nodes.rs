//! The `[[node]]` tables: each by itself, then against those before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use naru_core::cluster::NodeSpec;
use toml::Spanned;

use super::{convert::Misfit, networks, raw::Node};
use crate::{
    error::Problem,
    rules::{Taken, is_name, is_usable},
};

/// The names, addresses and blocks of the nodes before.
#[derive(Default)]
struct Before<'a> {
    names: BTreeSet<&'a str>,
    addresses: BTreeMap<IpAddr, &'a str>,
    blocks: Taken<&'a str>,
    /// The first node and its underlay address.
    first: Option<(&'a str, IpAddr)>,
}

/// The nodes in the order of their names.
pub fn list(raw: &[Node], ranges: &[IpNet]) -> Result<Vec<NodeSpec>, Misfit> {
    if raw.is_empty() {
        return Err(Misfit { at: usize::MAX, problem: Problem::NoNodes });
    }
    let mut before = Before::default();
    let mut nodes: Vec<NodeSpec> = Vec::with_capacity(raw.len());
    for entry in raw {
        nodes.push(NodeSpec {
            name: before.name(&entry.name)?,
            addresses: before.addresses(entry, ranges)?,
            blocks: before.blocks(entry, ranges)?,
            routing: entry.routing,
            encapsulation: entry.encapsulation,
        });
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

impl<'a> Before<'a> {
    fn name(&mut self, entry: &'a Spanned<String>) -> Result<String, Misfit> {
        let name = entry.get_ref();
        if !is_name(name) {
            return Err(Misfit::new(entry, Problem::BadName(name.clone())));
        }
        if !self.names.insert(name) {
            return Err(Misfit::new(entry, Problem::DuplicateName(name.clone())));
        }
        Ok(name.clone())
    }

    fn addresses(&mut self, node: &'a Node, ranges: &[IpNet]) -> Result<Vec<IpAddr>, Misfit> {
        let (name, list) = (node.name.get_ref().as_str(), &node.addresses);
        let mut addresses = Vec::new();
        for entry in list.get_ref() {
            let address = address(entry, ranges)?;
            if let Some(owner) = self.addresses.insert(address, name) {
                let owner = if owner == name { "itself" } else { owner }.to_owned();
                return Err(Misfit::new(entry, Problem::DuplicateAddress { address, owner }));
            }
            addresses.push(address);
        }
        let Some(first) = addresses.first().copied() else { return Err(Misfit::new(list, Problem::Empty)) };
        match self.first.get_or_insert((name, first)) {
            (other, underlay) if underlay.is_ipv4() != first.is_ipv4() => {
                let other = (*other).to_owned();
                Err(Misfit::new(list, Problem::MixedUnderlay { address: first, other }))
            }
            _ => Ok(addresses),
        }
    }

    fn blocks(&mut self, node: &'a Node, ranges: &[IpNet]) -> Result<Vec<IpNet>, Misfit> {
        let list = &node.blocks;
        let blocks = networks::list(list)?;
        if blocks.is_empty() {
            return Err(Misfit::new(list, Problem::Empty));
        }
        for (entry, block) in list.get_ref().iter().zip(&blocks) {
            if !ranges.iter().any(|range| range.contains(block)) {
                return Err(Misfit::new(entry, Problem::OutsideRanges(*block)));
            }
            if let Some((other, owner)) = self.blocks.take(*block, node.name.get_ref()) {
                let (other, owner) = (*other, (*owner).to_owned());
                return Err(Misfit::new(entry, Problem::BlockTaken { block: *block, other, owner }));
            }
        }
        Ok(blocks)
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
