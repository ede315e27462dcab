//! Hook for packets that are about to leave by the underlay.

use naru_abi::{DropReason, Verdict};
use naru_packet::{Content, Parsed};

use crate::{
    exit::{Decision, Next},
    flow_records,
    maps::routes,
    packet::Packet,
    policy,
};

/// Lets every packet at egress of an uplink pass. Records flows that the stack routes from a pod to another node, if
/// their answers would take the fast path.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    if !packet.is_as_sent() {
        record(packet)?;
    }
    Ok(Next::Pass(Verdict::Deliver))
}

#[inline(always)]
fn record(packet: &Packet) -> Result<(), DropReason> {
    let mut parsed = Parsed::EMPTY;
    if packet.parse(&mut parsed).is_err() || parsed.content != Content::Ip {
        return Ok(());
    }
    policy::after_stack(packet, &parsed.ip)?;
    match routes::get(&parsed.ip.destination) {
        Some(route) if route.is_remote() => flow_records::leaves_node(packet, &parsed.ip),
        _ => Ok(()),
    }
}
