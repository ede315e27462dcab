//! Another node sent a packet through the tunnel.

use naru_abi::{Addr, DropReason, RouteKind, StackReason};
use naru_packet::Parsed;

use crate::{config, exit::Decision, packet::Packet, pods, routes, shortcut, tunnel};

/// What becomes of a packet at ingress of the vxlan device.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let config = config::current()?;
    let origin = tunnel::origin(packet)?;
    if origin.vni != config.vni {
        return Err(DropReason::ForeignKey.into());
    }
    let node = node(&origin.address)?;
    let mut parsed = Parsed::EMPTY;
    let ip = packet.parse_ip(&mut parsed)?;
    belongs_to(&ip.source, &node)?;
    if let Some(pod) = pods::get(&ip.destination) {
        packet.claim()?;
        return shortcut::to_pod(packet, ip, 0, pod);
    }
    let reason = match routes::get(&ip.destination).map(|route| route.kind) {
        Some(RouteKind::LocalNode) => StackReason::LocalNode,
        Some(RouteKind::LocalBlock) => StackReason::Unassigned,
        _ => return Err(DropReason::NotForThisNode.into()),
    };
    packet.claim()?;
    Err(reason.into())
}

/// The node that sends from the underlay address `outer`, by its first address.
#[inline(always)]
fn node(outer: &Addr) -> Result<Addr, DropReason> {
    match routes::get(outer) {
        Some(route) if is_node(route.kind) => Ok(route.value.node),
        _ => Err(DropReason::ForeignOuterSource),
    }
}

/// Only what a node is routed to may come from it.
#[inline(always)]
fn belongs_to(inner: &Addr, node: &Addr) -> Result<(), DropReason> {
    match routes::get(inner) {
        Some(route) if is_remote(route.kind) && route.value.node == *node => Ok(()),
        _ => Err(DropReason::ForeignInnerSource),
    }
}

#[inline(always)]
fn is_remote(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::Tunnel | RouteKind::Direct) || is_node(kind)
}

/// A remote node's own address, whichever way we reach it: the other end chooses for itself.
#[inline(always)]
fn is_node(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::RemoteNode | RouteKind::DirectNode)
}
