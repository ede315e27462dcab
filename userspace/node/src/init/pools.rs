use naru_core::ipam::{Domain, PoolSpec, Reservation};

use super::{InitError, Memory, pool_name};
use crate::{
    reservations,
    store::{NodeStore, StateStore},
};

/// Gives the store the ranges of the node's pools. A pool without ranges any more drains.
pub(super) fn ensure(memory: &Memory, state: &mut StateStore, node: &mut NodeStore) -> Result<(), InitError> {
    let kept = reservations::all(node)?;
    for spec in specs(memory, &kept) {
        state.set_ranges(&spec, super::run::now())?;
    }
    if node.blocks()? != memory.blocks() {
        node.set_blocks(memory.blocks())?;
    }
    Ok(())
}

/// The pools: the node's blocks, and each list of subnets of a network configuration.
fn specs(memory: &Memory, kept: &[Reservation]) -> Vec<PoolSpec> {
    let mut specs = Vec::new();
    if memory.is_clustered() {
        specs.push(PoolSpec::routed(Domain::naru(), pool_name(&[]), memory.blocks().to_vec()));
    }
    for pool in &memory.pools {
        let spec = PoolSpec::routed(Domain::naru(), pool_name(&pool.subnets), pool.subnets.clone());
        specs.push(pool.reserved.iter().fold(spec, |spec, address| spec.reserve(*address, "gateway")));
    }
    // One outside a pool is of no effect in it.
    specs.iter_mut().for_each(|spec| spec.reserved.extend_from_slice(kept));
    specs
}
