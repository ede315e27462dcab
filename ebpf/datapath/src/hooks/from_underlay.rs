//! A packet came by the underlay.

use naru_abi::{Addr, Config, Outcome, StackReason, features};
use naru_packet::{Content, Family, Ip, Parsed, tunnel_overhead, vxlan_header};

use crate::{
    exit::Decision,
    fastpath::{self, Ends},
    maps::{config, pods, routes},
    packet::Packet,
    policy,
    tunnel::{
        arrival,
        decap::{Around, decapsulate},
        key::Origin,
    },
};

/// Decides about a packet at ingress of an uplink. Packets that are not the cluster's pass, whatever they are.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let (config, mut parsed) = (config::current().map_err(not_ours)?, Parsed::EMPTY);
    packet.parse(&mut parsed).map_err(not_ours)?;
    if parsed.content != Content::Ip {
        return Err(StackReason::NotOurs.into());
    }
    if config.features & features::OWN_ENCAPSULATION != 0
        && parsed.ip.destination == own_address(config, parsed.ip.family)
        && let Some(vxlan) = vxlan_header(packet, &parsed.ip, config.tunnel_port)
    {
        let around = Around { family: parsed.ip.family, traffic_class: parsed.ip.traffic_class, vxlan };
        return by_tunnel(packet, config, &mut parsed, &around);
    }
    match config.features & features::DIRECT {
        0 => Err(StackReason::NotOurs.into()),
        _ => direct(packet, &parsed.ip),
    }
}

/// Decides about a tunnel packet by the inner packet, then decapsulates it. Until then nothing is changed, so that the
/// tunnel device and `from_overlay` can take over.
#[inline(always)]
fn by_tunnel(packet: &mut Packet, config: &Config, parsed: &mut Parsed, around: &Around) -> Decision {
    if !around.vxlan.is_plain {
        return Err(StackReason::TunnelDevice.into());
    }
    if around.vxlan.vni != config.vni && config.features & features::SHARED_PORT != 0 {
        return Err(StackReason::NotOurs.into());
    }
    let origin = Origin { vni: around.vxlan.vni, address: parsed.ip.source };
    let inner = packet.inner(tunnel_overhead(around.family));
    let ip = inner.parse_ip(parsed)?;
    let pod = arrival::pod(config, &origin, ip)?;
    fastpath::permitted(&inner, ip, Ends::to_pod(pod), pod.mtu())?;
    decapsulate(packet, ip, around)?;
    packet.claim()?;
    policy::ingress(packet, ip, pod, false)?;
    fastpath::deliver(packet, ip, pod)
}

/// Decides about an untunnelled packet to a pod, from another node or its pods.
#[inline(always)]
fn direct(packet: &mut Packet, ip: &Ip) -> Decision {
    let pod = pods::get(&ip.destination).ok_or(StackReason::NotOurs)?;
    match routes::get(&ip.source) {
        Some(route) if route.is_remote() => {}
        _ => return Err(StackReason::NotOurs.into()),
    }
    policy::ingress(packet, ip, pod, false)?;
    fastpath::permitted(packet, ip, Ends::to_pod(pod), pod.mtu())?;
    packet.claim()?;
    fastpath::deliver(packet, ip, pod)
}

#[inline(always)]
fn own_address(config: &Config, family: Family) -> Addr {
    match family {
        Family::V4 => config.node_v4,
        Family::V6 => config.node_v6,
    }
}

#[inline(always)]
fn not_ours<T>(_: T) -> Outcome {
    StackReason::NotOurs.into()
}
