//! The stack sends a packet to a pod.

use naru_abi::{DropReason, Verdict};
use naru_packet::{Content, Parsed, readdress};

use crate::{
    exit::{Decision, Next},
    flow_records,
    maps::pods,
    packet::Packet,
    policy, service,
};

/// Decides about a packet at egress of a pod's host veth: delivers it to the pod's current MAC address.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let mut parsed = Parsed::EMPTY;
    packet.parse(&mut parsed)?;
    let ip = &parsed.ip;
    if parsed.content == Content::Ip {
        let Some(pod) = pods::get(&ip.destination).filter(|pod| pod.is_behind(packet.ifindex())) else {
            // The pod may have an address that is not in the map.
            flow_records::came_to_pod(packet, ip, None)?;
            return Ok(Next::Pass(Verdict::Deliver));
        };
        policy::from_stack(packet, ip, pod)?;
        let is_answer = service::is_client(pod.receives_answers()) && service::to_client(packet, ip)?;
        if !is_answer {
            // Of those the stack has translated none.
            flow_records::came_to_pod(packet, ip, Some(pod))?;
        }
        if pod.mac() != parsed.destination && pod.is_behind(packet.ifindex()) {
            readdress(packet, pod.macs()).map_err(|_| DropReason::Malformed)?;
        }
    }
    Ok(Next::Pass(Verdict::Deliver))
}
