//! Validation of packets that came from another node, and their receivers.

use naru_abi::{Addr, Config, Destination, DropReason, Outcome, StackReason};
use naru_packet::Ip;

use super::key::Origin;
use crate::maps::{
    pods::{self, Pod},
    routes,
};

/// Returns the pod that a tunnel packet is for. An outcome for the stack does not depend on whether the packet is
/// decapsulated yet.
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

/// Checks that the inner source is routed to the node that sent the packet, from any of its addresses.
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
