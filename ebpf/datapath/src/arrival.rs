//! A packet that came from another node: whether it may, and for whom it is.

use naru_abi::{Addr, Config, DropReason, Outcome, PodValue, RouteKind, StackReason};
use naru_packet::Ip;

use crate::{pods, routes, tunnel::Origin};

/// The node that sends from the underlay address of `origin`, by its first address.
///
/// # Errors
/// It is another cluster's packet, or no node's.
#[inline(always)]
pub fn sender(config: &Config, origin: &Origin) -> Result<&'static Addr, DropReason> {
    if origin.vni != config.vni {
        return Err(DropReason::ForeignKey);
    }
    match routes::get(&origin.address) {
        Some(route) if is_node(route.kind) => Ok(&route.value.node),
        _ => Err(DropReason::ForeignOuterSource),
    }
}

/// The pod that a tunnel packet of `node` is for. What the stack is to do with it does not depend on whether it is
/// decapsulated yet.
///
/// # Errors
/// Its source is not that node's, or it is for no pod.
#[inline(always)]
pub fn pod(ip: &Ip, node: &Addr) -> Result<&'static PodValue, Outcome> {
    belongs_to(&ip.source, node)?;
    if let Some(pod) = pods::get(&ip.destination) {
        return Ok(pod);
    }
    Err(match routes::get(&ip.destination).map(|route| route.kind) {
        Some(RouteKind::LocalNode) => StackReason::LocalNode.into(),
        Some(RouteKind::LocalBlock) => StackReason::Unassigned.into(),
        _ => DropReason::NotForThisNode.into(),
    })
}

/// Only what a node is routed to may come from it.
#[inline(always)]
fn belongs_to(inner: &Addr, node: &Addr) -> Result<(), DropReason> {
    match routes::get(inner) {
        Some(route) if is_remote(route.kind) && route.value.node == *node => Ok(()),
        _ => Err(DropReason::ForeignInnerSource),
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
