//! Hook for packets that another node sent through the tunnel.

use naru_abi::Outcome;
use naru_packet::Parsed;

use crate::{
    exit::Decision,
    fastpath::{self, Ends},
    maps::config,
    packet::Packet,
    policy,
    tunnel::{arrival, key},
};

/// Decides about a packet at ingress of the VXLAN device.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let config = config::current()?;
    let origin = key::origin(packet)?;
    let mut parsed = Parsed::EMPTY;
    let ip = packet.parse_ip(&mut parsed)?;
    let found = arrival::pod(config, &origin, ip);
    if !matches!(found, Err(Outcome::Drop(_))) {
        packet.claim()?;
    }
    let pod = found?;
    policy::ingress(packet, ip, pod, false)?;
    fastpath::to_pod(packet, ip, Ends::to_pod(pod), pod)
}
