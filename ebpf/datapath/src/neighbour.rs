//! The pod's link: one pod, one gateway, and this program in the gateway's place.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Addr, DropReason, GATEWAY_V4, GATEWAY_V6};
use naru_packet::{Content, Discovery, Ip, Mac, Parsed, answer, discovery, is_link_local};

use crate::{
    exit::{Decision, Next},
    maps::interfaces,
    packet::Packet,
    sender,
};

/// Answers a question for the gateway, takes note of what the pod says of its own address, drops anything else.
#[inline(always)]
pub fn decide(packet: &mut Packet, parsed: &Parsed) -> Decision {
    let mut end = judge(packet.raw(), parsed);
    if end == FINE {
        end = reply(packet.raw(), parsed);
    }
    match DropReason::try_from(end) {
        Ok(reason) => Err(reason.into()),
        Err(_) => Ok(Next::Answer(packet.ifindex())),
    }
}

/// What [`judge`] and [`reply`] answer where they drop nothing.
const FINE: u32 = u32::MAX;

/// Why the message ends here, by number, if it is no question to be answered. A function of its own, for a stack of its
/// own: packets that are forwarded do not come here.
#[inline(never)]
fn judge(skb: *mut __sk_buff, parsed: &Parsed) -> u32 {
    question(&Packet::new(skb), parsed).map_or_else(|reason| reason as u32, |()| FINE)
}

/// Turns the question into its answer. As [`judge`].
#[inline(never)]
fn reply(skb: *mut __sk_buff, parsed: &Parsed) -> u32 {
    let packet = &mut Packet::new(skb);
    let Some(interface) = interfaces::get(packet.ifindex()) else { return DropReason::NotReady as u32 };
    answer(packet, header(parsed), interface.host_mac).map_or(DropReason::Malformed as u32, |()| FINE)
}

/// Whether this is a question that is to be answered.
#[inline(always)]
fn question(packet: &Packet, parsed: &Parsed) -> Result<(), DropReason> {
    let mac = parsed.source;
    let Discovery { own, asked } = discovery(packet, header(parsed)).map_err(|_| DropReason::Malformed)?;
    let is_own = sender::own(packet, mac, &own)?.is_some();
    if own == asked {
        return Err(match is_own {
            true => DropReason::NeighbourAnnouncement,
            false if is_host_link_local(own) => DropReason::LinkLocal,
            false => DropReason::ForeignNeighbour,
        });
    }
    if !is_gateway(asked) || !(is_own || is_host_link_local(own) || is_permitted(packet, mac)?) {
        return Err(DropReason::ForeignNeighbour);
    }
    Ok(())
}

#[inline(always)]
fn header(parsed: &Parsed) -> Option<&Ip> {
    (parsed.content == Content::Ip).then_some(&parsed.ip)
}

#[inline(always)]
fn is_permitted(packet: &Packet, mac: Mac) -> Result<bool, DropReason> {
    match sender::foreign(packet, mac) {
        Some(sender) => sender.map(|_| true),
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
