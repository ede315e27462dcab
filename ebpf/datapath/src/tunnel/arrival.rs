//! A packet that came from another node: whether it may, and for whom it is.

use naru_abi::{Addr, Config, Destination, DropReason, Outcome, StackReason};
use naru_packet::Ip;

use super::key::Origin;
use crate::maps::{
    pods::{self, Pod},
    routes,
};

/// The pod that a tunnel packet is for. What the stack is to do with it does not depend on whether it is decapsulated
/// yet.
///
/// # Errors
/// It is another cluster's packet or no node's, its source is not that node's, or it is for no pod.
#[inline(always)]
pub fn pod(config: &Config, origin: &Origin, ip: &Ip) -> Result<Pod, Outcome> {
    if origin.vni != config.vni {
        return Err(DropReason::ForeignKey.into());
    }
    belongs_to(&ip.source, &origin.address)?;
    if let Some(pod) = pods::get(&ip.destination) {
        return Ok(pod);
    }
    Err(match routes::get(&ip.destination) {
        Some(route) if route.is(Destination::OwnNode) => StackReason::LocalNode.into(),
        Some(route) if route.is(Destination::OwnBlock) => StackReason::Unassigned.into(),
        _ => DropReason::NotForThisNode.into(),
    })
}

/// Only what a node is routed to may come from it, from the first of its addresses or from another.
#[inline(always)]
fn belongs_to(inner: &Addr, outer: &Addr) -> Result<(), DropReason> {
    let node = routes::get(inner).filter(|route| route.is_remote()).map(|route| &route.node);
    if node.is_some_and(|node| node == outer) {
        return Ok(());
    }
    match routes::get(outer).filter(|route| route.is(Destination::Node)) {
        None => Err(DropReason::ForeignOuterSource),
        Some(sender) if node.is_some_and(|node| *node == sender.node) => Ok(()),
        Some(_) => Err(DropReason::ForeignInnerSource),
    }
}
