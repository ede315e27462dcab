//! The pod's link: one pod, one gateway, and this program in the gateway's place.

use naru_abi::{Addr, DropReason, GATEWAY_V4, GATEWAY_V6};
use naru_packet::{Discovery, Ip, Mac, answer, is_link_local};

use crate::{
    exit::{Decision, Next},
    interfaces,
    packet::Packet,
    source,
};

/// Answers a question for the gateway, takes note of what the pod says of its own address, drops anything else.
#[inline(always)]
pub fn decide(packet: &mut Packet, mac: Mac, ip: Option<&Ip>, message: Discovery) -> Decision {
    match message {
        Discovery::Announce(addr) => Err(announcement(packet, mac, addr)?.into()),
        Discovery::Ask { sender, target } => question(packet, mac, ip, sender, target),
    }
}

/// Why an announcement of `addr` ends here.
#[inline(always)]
fn announcement(packet: &Packet, mac: Mac, addr: Addr) -> Result<DropReason, DropReason> {
    Ok(match source::own(packet, mac, &addr)? {
        Some(_) => DropReason::NeighbourAnnouncement,
        None if is_host_link_local(addr) => DropReason::LinkLocal,
        None => DropReason::ForeignNeighbour,
    })
}

#[inline(always)]
fn question(packet: &mut Packet, mac: Mac, ip: Option<&Ip>, sender: Addr, target: Addr) -> Decision {
    if sender.is_unspecified() {
        return Err(announcement(packet, mac, target)?.into());
    }
    let is_own = source::own(packet, mac, &sender)?.is_some();
    if !is_gateway(target) || !(is_own || is_host_link_local(sender) || is_permitted(packet, mac)?) {
        return Err(DropReason::ForeignNeighbour.into());
    }
    let interface = interfaces::get(packet.ifindex()).ok_or(DropReason::NotReady)?;
    answer(packet, ip, interface.host_mac).map_err(|_| DropReason::Malformed)?;
    Ok(Next::Answer(packet.ifindex()))
}

#[inline(always)]
fn is_permitted(packet: &Packet, mac: Mac) -> Result<bool, DropReason> {
    match source::foreign(packet, mac) {
        Some(source) => source.map(|_| true),
        None => Ok(false),
    }
}

#[inline(always)]
fn is_gateway(addr: Addr) -> bool {
    addr == Addr::v4(GATEWAY_V4) || addr == Addr::v6(GATEWAY_V6)
}

/// A link-local IPv6 address that a pod may give itself: any but the gateway's.
#[inline(always)]
fn is_host_link_local(addr: Addr) -> bool {
    addr.as_v4().is_none() && is_link_local(addr) && !is_gateway(addr)
}
