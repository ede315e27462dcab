//! A pod sent a packet.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_REDIRECT};
use naru_abi::{Addr, Config, DropReason, Outcome, RouteKind, StackReason, features, pod_flags, route_flags};
use naru_packet::{
    Content, Ip, Macs, Malformed, Parsed, is_dhcp_request, is_discovery, is_link_local, is_link_multicast,
    is_multicast, protocol, udp_port,
};

use crate::{
    exit::{Decision, Next, Tunnelled},
    fastpath,
    maps::{
        config, interfaces, pods,
        routes::{self, Route},
    },
    neighbour,
    packet::Packet,
    route::direct,
    sender::{self, Sender},
};

/// What [`udp_destination`] answers where there is no port, and where the packet ends before it.
const NO_PORT: u32 = 1 << 16;
const UNREADABLE: u32 = NO_PORT + 1;

/// What becomes of a packet at ingress of a pod's host veth.
#[inline(always)]
pub fn decide(packet: &mut Packet) -> Decision {
    let config = config::current()?;
    let mut parsed = Parsed::EMPTY;
    packet.parse(&mut parsed)?;
    let ip = &parsed.ip;
    let is_link = match parsed.content {
        Content::Ip => is_discovery(packet, ip).map_err(malformed)?,
        Content::Arp => true,
        Content::Other => return Err(DropReason::UnknownEthertype.into()),
    };
    if is_link {
        return neighbour::decide(packet, &parsed);
    }
    let sender = sender::check(packet, parsed.source, ip).map_err(|why| refused(packet, ip, why))?;
    reaches_beyond_link(&ip.destination)?;
    packet.claim()?;
    match pods::get(&ip.destination) {
        Some(pod) => fastpath::to_pod(packet, ip, sender.flags, pod),
        None => to_prefix(packet, ip, sender, config),
    }
}

/// The end of a packet from nobody's address. A DHCP client has none yet: where the pod may be one, its broadcast is the
/// stack's, and a server's that listens there.
#[inline(always)]
fn refused(packet: &Packet, ip: &Ip, why: DropReason) -> Outcome {
    let may_ask = || interfaces::get(packet.ifindex()).is_some_and(|it| it.flags & pod_flags::DHCP != 0);
    if matches!(why, DropReason::LinkLocal) && is_dhcp_request(packet, ip) && may_ask() {
        return StackReason::Multicast.into();
    }
    why.into()
}

/// Link-local destinations end here, multicast is the stack's.
#[inline(always)]
fn reaches_beyond_link(destination: &Addr) -> Result<(), Outcome> {
    let is_local_v6 = destination.as_v4().is_none() && is_link_local(*destination);
    if is_link_multicast(*destination) || is_local_v6 {
        return Err(DropReason::LinkLocal.into());
    }
    if is_multicast(*destination) {
        return Err(StackReason::Multicast.into());
    }
    Ok(())
}

#[inline(always)]
fn to_prefix(packet: &mut Packet, ip: &Ip, sender: Sender, config: &Config) -> Decision {
    let Some(route) = routes::get(&ip.destination) else { return Err(StackReason::Outside.into()) };
    if is_node(route.kind) {
        spares_tunnel_port(packet, ip, config)?;
    }
    match route.kind {
        RouteKind::Tunnel | RouteKind::RemoteNode => to_tunnel(packet, ip, sender, route, config),
        RouteKind::LocalNode => Err(StackReason::LocalNode.into()),
        RouteKind::LocalBlock => Err(StackReason::Unassigned.into()),
        RouteKind::Direct | RouteKind::DirectNode => to_direct(packet, ip, sender, route, config),
        RouteKind::NoMasquerade => Err(StackReason::Outside.into()),
    }
}

#[inline(always)]
fn to_tunnel(packet: &mut Packet, ip: &Ip, sender: Sender, route: Route, config: &Config) -> Decision {
    let length = fastpath::permitted(packet, ip, (sender.flags, fastpath::REMOTE), route.value.mtu)?;
    // The receiver looks at neither, but its device drops what claims to come from itself.
    fastpath::hand_over(packet, ip, Macs { destination: sender.host_mac, source: sender.host_mac })?;
    let by_program = by_program(config, features::OWN_ENCAPSULATION, route).into();
    match config.overlay_ifindex {
        0 => Err(DropReason::NotReady.into()),
        device => Ok(Next::Tunnel(Tunnelled { device, node: &route.value.node, length, by_program })),
    }
}

#[inline(always)]
fn to_direct(packet: &mut Packet, ip: &Ip, sender: Sender, route: Route, config: &Config) -> Decision {
    let length = fastpath::permitted(packet, ip, (sender.flags, fastpath::REMOTE), route.value.mtu)?;
    if !by_program(config, features::DIRECT, route) {
        return Err(StackReason::DirectByStack.into());
    }
    match direct::route(packet.raw(), ip, length) {
        TC_ACT_REDIRECT => Ok(Next::Direct),
        direct::BY_STACK => Err(StackReason::DirectByStack.into()),
        _ => Err(DropReason::HelperFailed.into()),
    }
}

/// Whether this node's programs do that themselves, and towards that node.
#[inline(always)]
fn by_program(config: &Config, feature: u32, route: Route) -> bool {
    config.features & feature != 0 && route.value.flags & route_flags::DEVICE_PATH == 0
}

#[inline(always)]
fn is_node(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::RemoteNode | RouteKind::DirectNode | RouteKind::LocalNode)
}

/// A pod must not speak to the tunnel itself. Other protocols and ports of a node are open to it.
#[inline(always)]
fn spares_tunnel_port(packet: &Packet, ip: &Ip, config: &Config) -> Result<(), DropReason> {
    let may_be_udp = ip.protocol == protocol::UDP || ip.protocol == protocol::FRAGMENT || ip.extended;
    if !may_be_udp {
        return Ok(());
    }
    match udp_destination(packet.raw(), ip) {
        port if port == config.tunnel_port => Err(DropReason::TunnelPort),
        UNREADABLE => Err(DropReason::Malformed),
        _ => Ok(()),
    }
}

/// A function of its own: it is long, and few packets need it.
#[inline(never)]
fn udp_destination(skb: *mut __sk_buff, ip: &Ip) -> u32 {
    match udp_port(&Packet::new(skb), ip) {
        Ok(Some(port)) => port.into(),
        Ok(None) => NO_PORT,
        Err(Malformed) => UNREADABLE,
    }
}

#[inline(always)]
fn malformed(_: Malformed) -> DropReason {
    DropReason::Malformed
}
