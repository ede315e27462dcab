//! A pod sent a packet.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_REDIRECT};
use naru_abi::{
    Config, Destination, DropReason, LinkReason, Outcome, RouteValue, StackReason, Transport, Verdict,
    features, pod_flags, route_flags,
};
use naru_packet::{
    Content, Ip, LinkMessage, Macs, Malformed, Parsed, is_dhcp_request, is_discovery, is_link_local,
    is_link_multicast, is_multicast, link_message, protocol, udp_port,
};

use crate::{
    exit::{Decision, Next},
    fastpath::{self, Ends},
    maps::{config, interfaces, pods, routes},
    neighbour,
    packet::Packet,
    policy,
    route::direct,
    sender::{self, Sender},
    service,
    tunnel::encap,
};

/// Results of [`udp_destination`] for packets without a port, and for packets that end before it.
const NO_PORT: u32 = 1 << 16;
const UNREADABLE: u32 = NO_PORT + 1;

/// Returns the decision on a packet at ingress of a pod's host veth: sender check, Service translation, look-up,
/// delivery or encapsulation.
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
    let mut sender = Sender::NONE;
    let sender = &mut sender;
    sender::check(packet, &parsed.source, ip, sender).map_err(|why| refused(packet, ip, why))?;
    reaches_beyond_link(packet, ip)?;
    packet.claim()?;
    if sender.flags & pod_flags::NO_SHORTCUT == 0 {
        service::from_client(packet, &mut parsed.ip, sender.sends_answers)?;
    }
    policy::egress(packet, &mut parsed.ip, sender)?;
    let ip = &parsed.ip;
    match pods::get(&ip.destination) {
        Some(pod) => {
            policy::ingress(packet, ip, pod, false)?;
            fastpath::to_pod(packet, ip, Ends::between(sender, pod), pod)
        }
        None => to_prefix(packet, ip, sender, config),
    }
}

/// Returns the outcome of a packet whose source is no address of the pod.
#[inline(always)]
fn refused(packet: &Packet, ip: &Ip, why: DropReason) -> Outcome {
    match why {
        DropReason::LinkLocal => of_link(packet, ip),
        why => why.into(),
    }
}

/// Ends packets to link-local destinations, and leaves multicast to the stack.
#[inline(always)]
fn reaches_beyond_link(packet: &Packet, ip: &Ip) -> Result<(), Outcome> {
    let destination = &ip.destination;
    let is_local_v6 = destination.as_v4().is_none() && is_link_local(*destination);
    if is_link_multicast(*destination) || is_local_v6 {
        return Err(of_link(packet, ip));
    }
    if is_multicast(*destination) {
        return Err(StackReason::Multicast.into());
    }
    Ok(())
}

/// Returns the outcome of a packet that goes no farther than the link.
#[inline(always)]
fn of_link(packet: &Packet, ip: &Ip) -> Outcome {
    match on_link(packet.raw(), ip) {
        SOLICITATION => LinkReason::RouterSolicitation.into(),
        MEMBERSHIP => LinkReason::GroupMembership.into(),
        REQUEST => StackReason::Multicast.into(),
        _ => DropReason::LinkLocal.into(),
    }
}

/// Results of [`on_link`]: other packets, messages that any host sends, and requests of DHCP clients, which the stack
/// may answer.
const OTHER: u32 = 0;
const SOLICITATION: u32 = 1;
const MEMBERSHIP: u32 = 2;
const REQUEST: u32 = 3;

/// Classifies messages to the link. A DHCP client has no address yet: where the pod may be one, the stack gets its
/// broadcast, and with it a server that listens there. A function of its own, as few packets need it.
#[inline(never)]
fn on_link(skb: *mut __sk_buff, ip: &Ip) -> u32 {
    let packet = &Packet::new(skb);
    let may_ask = || {
        let Some(interface) = interfaces::get(packet.ifindex()) else { return false };
        interface.flags() & pod_flags::DHCP != 0 && interface.is_of(packet.ifindex())
    };
    if is_dhcp_request(packet, ip) {
        return if may_ask() { REQUEST } else { OTHER };
    }
    match link_message(packet, ip) {
        Some(LinkMessage::RouterSolicitation) if is_link_multicast(ip.destination) => SOLICITATION,
        Some(LinkMessage::GroupMembership) if is_link_multicast(ip.destination) => MEMBERSHIP,
        _ => OTHER,
    }
}

#[inline(always)]
fn to_prefix(packet: &mut Packet, ip: &Ip, sender: &Sender, config: &Config) -> Decision {
    let Some(route) = routes::get(&ip.destination) else { return Err(StackReason::Outside.into()) };
    if route.is(Destination::Node) || route.is(Destination::OwnNode) {
        spares_tunnel_port(packet, ip, config)?;
    }
    if route.goes_by(Transport::Tunnel) {
        return to_tunnel(packet, ip, sender, route, config);
    }
    if route.goes_by(Transport::Direct) {
        return to_direct(packet, ip, sender, route, config);
    }
    Err(match route.destination {
        OWN_NODE => StackReason::LocalNode,
        OWN_BLOCK => StackReason::Unassigned,
        _ => StackReason::Outside,
    }
    .into())
}

const OWN_NODE: u32 = Destination::OwnNode as u32;
const OWN_BLOCK: u32 = Destination::OwnBlock as u32;

#[inline(always)]
fn to_tunnel(packet: &mut Packet, ip: &Ip, sender: &Sender, route: &RouteValue, config: &Config) -> Decision {
    let length = fastpath::permitted(packet, ip, Ends::from_pod(sender), route.mtu)?;
    if config.overlay_ifindex == 0 {
        return Err(DropReason::NotReady.into());
    }
    // The receiver looks at neither address, but its device drops frames that claim to come from itself.
    let mac = *sender.host_mac.ok_or(DropReason::HelperFailed)?;
    fastpath::hand_over(packet, ip, Macs { destination: mac, source: mac })?;
    encap::send(packet, config, &route.node, length, by_program(config, features::OWN_ENCAPSULATION, route))
}

#[inline(always)]
fn to_direct(packet: &mut Packet, ip: &Ip, sender: &Sender, route: &RouteValue, config: &Config) -> Decision {
    let length = fastpath::permitted(packet, ip, Ends::from_pod(sender), route.mtu)?;
    if !by_program(config, features::DIRECT, route) {
        return Err(StackReason::DirectByStack.into());
    }
    match direct::route(packet.raw(), ip, length, config.features) {
        TC_ACT_REDIRECT => Ok(Next::Uplink(Verdict::Direct)),
        direct::BY_STACK => Err(StackReason::DirectByStack.into()),
        _ => Err(DropReason::HelperFailed.into()),
    }
}

/// Returns true if this node has the feature and the route does not ask for kernel encapsulation.
#[inline(always)]
fn by_program(config: &Config, feature: u32, route: &RouteValue) -> bool {
    config.features & feature != 0 && route.flags & route_flags::KERNEL_ENCAPSULATION == 0
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
