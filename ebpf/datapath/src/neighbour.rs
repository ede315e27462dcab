//! The pod's link: one pod, and one gateway, for which this program answers.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Addr, DropReason, GATEWAY_V4, GATEWAY_V6, LinkReason};
use naru_packet::{Content, Discovery, Ip, Mac, Parsed, answer, discovery, is_link_local};

use crate::{
    exit::{Decision, Next},
    maps::interfaces,
    packet::Packet,
    sender::{self, Sender},
};

/// Answers questions for the gateway, learns from the pod's announcements of its own address, and drops everything
/// else.
#[inline(always)]
pub fn decide(packet: &mut Packet, parsed: &Parsed) -> Decision {
    let mut end = judge(packet.raw(), parsed);
    if end == FINE {
        end = reply(packet.raw(), parsed);
    }
    match DropReason::try_from(end) {
        Ok(reason) => Err(reason.into()),
        Err(_) if end == ANNOUNCED => Err(LinkReason::NeighbourAnnouncement.into()),
        Err(_) => Ok(Next::Answer(packet.ifindex())),
    }
}

/// Results of [`judge`] and [`reply`] other than drops: a question that is to be answered, and an announcement.
const FINE: u32 = u32::MAX;
const ANNOUNCED: u32 = u32::MAX - 1;

/// Returns the reason, by number, for which the message ends here if it is no question to be answered. A function of
/// its own, for a stack of its own: packets that are forwarded do not come here.
#[inline(never)]
fn judge(skb: *mut __sk_buff, parsed: &Parsed) -> u32 {
    let mut said = Discovery::NONE;
    if !read(skb, parsed, &mut said) {
        return DropReason::Malformed as u32;
    }
    match question(&Packet::new(skb), &parsed.source, &said) {
        Ok(true) => FINE,
        Ok(false) => ANNOUNCED,
        Err(reason) => reason as u32,
    }
}

/// Reads the message. Returns true if it is well-formed. A function of its own, like [`judge`].
#[inline(never)]
fn read(skb: *mut __sk_buff, parsed: &Parsed, said: &mut Discovery) -> bool {
    discovery(&Packet::new(skb), header(parsed), said).is_ok()
}

/// Turns the question into its answer. A function of its own, like [`judge`].
#[inline(never)]
fn reply(skb: *mut __sk_buff, parsed: &Parsed) -> u32 {
    let packet = &mut Packet::new(skb);
    let Some(interface) = interfaces::get(packet.ifindex()) else { return DropReason::NotReady as u32 };
    let mac = *interface.host_mac();
    if !interface.is_of(packet.ifindex()) {
        return DropReason::NotReady as u32;
    }
    answer(packet, header(parsed), mac).map_or(DropReason::Malformed as u32, |()| FINE)
}

/// Returns true for a question that is to be answered, and false for the announcement of an address that the pod has or
/// may give itself.
#[inline(always)]
fn question(packet: &Packet, mac: &Mac, said: &Discovery) -> Result<bool, DropReason> {
    let Discovery { own, asked } = said;
    let mut nobody = Sender::NONE;
    let sender = &mut nobody;
    let is_own = sender::own(packet, mac, own, sender)? || is_host_link_local(*own);
    if own == asked {
        return if is_own { Ok(false) } else { Err(DropReason::ForeignNeighbour) };
    }
    if !is_gateway(*asked) || !(is_own || sender::foreign(packet, mac, sender)?) {
        return Err(DropReason::ForeignNeighbour);
    }
    Ok(true)
}

#[inline(always)]
fn header(parsed: &Parsed) -> Option<&Ip> {
    (parsed.content == Content::Ip).then_some(&parsed.ip)
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
