use std::net::IpAddr;

use ipnet::IpNet;
use naru_core::{
    ids::PodName,
    ipam::{DEFAULT_COOLING, Domain, PoolSpec, Range, Reservation},
};

use super::{InitError, Memory, NamedPool, pool_name};
use crate::{
    reservations,
    store::{NodeStore, StateStore},
};

/// Gives the store the ranges of the node's pools. A pool without ranges any more drains.
pub(super) fn ensure(memory: &Memory, state: &mut StateStore, node: &mut NodeStore) -> Result<(), InitError> {
    let kept = reservations::all(node)?;
    if memory.named.iter().any(|pool| !pool.draining.is_empty()) {
        // What has cooled keeps no range from going.
        while state.sweep(&Domain::naru(), DEFAULT_COOLING, super::run::now())? > 0 {}
    }
    for spec in specs(memory, &kept) {
        state.set_ranges(&spec, super::run::now())?;
    }
    if node.blocks()? != memory.blocks() {
        node.set_blocks(memory.blocks())?;
    }
    Ok(())
}

/// Forgets ranges of named pools that have drained, and pools without any left.
pub(super) fn forget_drained(memory: &mut Memory, state: &StateStore) -> Result<(), InitError> {
    if memory.named.iter().all(|pool| pool.draining.is_empty()) {
        return Ok(());
    }
    let ranges = state.ranges()?;
    for pool in &mut memory.named {
        let is_left = |net: &IpNet| {
            let of_pool = |range: &&Range| range.domain == Domain::naru() && range.pool == pool.name;
            ranges.iter().filter(of_pool).any(|range| net.contains(&range.net))
        };
        let gone: Vec<IpNet> = pool.draining.iter().copied().filter(|net| !is_left(net)).collect();
        pool.ranges.retain(|net| !gone.contains(net));
        pool.draining.retain(|net| !gone.contains(net));
    }
    memory.named.retain(|pool| !pool.ranges.is_empty());
    Ok(())
}

/// Network and broadcast address of the cluster's IPv4 ranges.
fn edges(memory: &Memory) -> impl Iterator<Item = Reservation> {
    let has_edges = |range: &&IpNet| range.addr().is_ipv4() && range.prefix_len() <= 30;
    let ranges = memory.cluster.ranges.iter().filter(has_edges);
    let kept = |(address, note): (IpAddr, &str)| Reservation {
        address,
        note: note.to_owned(),
        pod: PodName::default(),
    };
    ranges.flat_map(|range| [(range.network(), "network"), (range.broadcast(), "broadcast")]).map(kept)
}

/// The pools: the node's blocks, and each list of subnets of a network configuration.
fn specs(memory: &Memory, kept: &[Reservation]) -> Vec<PoolSpec> {
    let mut specs = Vec::new();
    if memory.is_clustered() {
        specs.push(PoolSpec::routed(Domain::naru(), pool_name(&[]), memory.unnamed_blocks()));
    }
    let named = |pool: &NamedPool| PoolSpec::routed(Domain::naru(), pool.name.clone(), pool.active());
    specs.extend(memory.named.iter().map(named));
    for pool in &memory.pools {
        let spec = PoolSpec::routed(Domain::naru(), pool_name(&pool.subnets), pool.subnets.clone());
        specs.push(pool.reserved.iter().fold(spec, |spec, address| spec.reserve(*address, "gateway")));
    }
    // One outside a pool is of no effect in it.
    for spec in &mut specs {
        spec.reserved.extend(edges(memory));
        spec.reserved.extend_from_slice(kept);
    }
    specs
}
