//! Hook for packets that are about to be encapsulated: from the stack, or from `from_pod`, which has done all of this.

use naru_abi::{DropReason, Transport, Verdict};
use naru_packet::{Parsed, is_link_local, is_multicast};

use crate::{
    exit::{Decision, Next},
    flow_records,
    maps::{config, routes},
    packet::Packet,
    policy,
    tunnel::key,
};

/// Decides about a packet at egress of the VXLAN device: it gets the tunnel key of the node that its destination is
/// routed to. Its mark is meant for the inner packet only, so the outer packet does not get it.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let config = config::current()?;
    if packet.is_addressed() {
        return Ok(Next::Pass(Verdict::Tunnel));
    }
    let mut parsed = Parsed::EMPTY;
    let ip = packet.parse_ip(&mut parsed)?;
    if is_multicast(ip.destination) || is_link_local(ip.source) || ip.source.is_unspecified() {
        return Err(DropReason::LinkLocal.into());
    }
    let node = match routes::get(&ip.destination) {
        Some(route) if route.goes_by(Transport::Tunnel) => &route.node,
        _ => return Err(DropReason::NoTunnelRoute.into()),
    };
    policy::after_stack(packet, ip)?;
    flow_records::leaves_node(packet, ip)?;
    if !key::address(packet.raw(), config, node) {
        return Err(DropReason::HelperFailed.into());
    }
    packet.clear_mark();
    Ok(Next::Pass(Verdict::Tunnel))
}
