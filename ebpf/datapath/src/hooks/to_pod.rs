//! The stack sends a packet to a pod.

use naru_abi::{DropReason, Verdict};
use naru_packet::{Content, Macs, Parsed, readdress};

use crate::{
    exit::{Decision, Next},
    flow_records,
    maps::pods,
    packet::Packet,
};

/// What becomes of a packet at egress of a pod's host veth: it is delivered, to the MAC address the pod has now.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let mut parsed = Parsed::EMPTY;
    packet.parse(&mut parsed)?;
    let ip = &parsed.ip;
    if parsed.content == Content::Ip {
        let pod = pods::get(&ip.destination).filter(|pod| pod.ifindex == packet.ifindex());
        flow_records::came_to_pod(packet, ip, pod)?;
        if let Some(pod) = pod.filter(|pod| pod.pod_mac != parsed.destination) {
            let macs = Macs { destination: pod.pod_mac, source: pod.host_mac };
            readdress(packet, macs).map_err(|_| DropReason::Malformed)?;
        }
    }
    Ok(Next::Pass(Verdict::Deliver))
}
