//! A packet that came from another node: whether it may, and for whom it is.

use naru_abi::{Addr, Config, DropReason, Outcome, PodValue, RouteKind, StackReason};
use naru_packet::Ip;

use super::key::Origin;
use crate::maps::{pods, routes};

/// The pod that a tunnel packet is for. What the stack is to do with it does not depend on whether it is decapsulated yet.
///
/// # Errors
/// It is another cluster's packet or no node's, its source is not that node's, or it is for no pod.
#[inline(always)]
pub fn pod(config: &Config, origin: &Origin, ip: &Ip) -> Result<&'static PodValue, Outcome> {
    if origin.vni != config.vni {
        return Err(DropReason::ForeignKey.into());
    }
    belongs_to(&ip.source, &origin.address)?;
    if let Some(pod) = pods::get(&ip.destination) {
        return Ok(pod);
    }
    Err(match routes::get(&ip.destination).map(|route| route.kind) {
        Some(RouteKind::LocalNode) => StackReason::LocalNode.into(),
        Some(RouteKind::LocalBlock) => StackReason::Unassigned.into(),
        _ => DropReason::NotForThisNode.into(),
    })
}

/// Only what a node is routed to may come from it, from the first of its addresses or from another.
#[inline(always)]
fn belongs_to(inner: &Addr, outer: &Addr) -> Result<(), DropReason> {
    let node = routes::get(inner).filter(|route| is_remote(route.kind)).map(|route| &route.value.node);
    if node.is_some_and(|node| node == outer) {
        return Ok(());
    }
    match routes::get(outer).filter(|route| is_node(route.kind)) {
        None => Err(DropReason::ForeignOuterSource),
        Some(sender) if node.is_some_and(|node| *node == sender.value.node) => Ok(()),
        Some(_) => Err(DropReason::ForeignInnerSource),
    }
}

/// Whether an address is another node's or that of a pod there, whichever way we reach it: the other end chooses for
/// itself.
#[inline(always)]
pub fn is_remote(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::Tunnel | RouteKind::Direct) || is_node(kind)
}

#[inline(always)]
fn is_node(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::RemoteNode | RouteKind::DirectNode)
}
