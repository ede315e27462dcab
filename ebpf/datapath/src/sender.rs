//! Source address and MAC validation: the first stage of what a pod sends.

use naru_abi::{Addr, DropReason, pod_flags};
use naru_packet::{Ip, Mac, is_link_local};

use crate::{
    maps::{interfaces, pods},
    packet::Packet,
};

/// The pod that sent a packet.
#[derive(Clone, Copy)]
pub struct Sender {
    /// Bits of [`pod_flags`].
    pub flags: u32,
    /// MAC address of its host veth.
    pub host_mac: Mac,
}

/// The sender of this IP packet.
#[inline(always)]
pub fn check(packet: &Packet, mac: Mac, ip: &Ip) -> Result<Sender, DropReason> {
    match own(packet, mac, &ip.source)? {
        Some(sender) => Ok(sender),
        None if is_link_local(ip.source) || is_unspecified(ip.source) => Err(DropReason::LinkLocal),
        None => foreign(packet, mac).ok_or(DropReason::SpoofedSource)?,
    }
}

/// The sender, if `addr` is the address of the pod behind this interface. Its MAC address is checked or learned.
#[inline(always)]
pub fn own(packet: &Packet, mac: Mac, addr: &Addr) -> Result<Option<Sender>, DropReason> {
    let Some(pod) = pods::get(addr) else { return Ok(None) };
    if pod.ifindex != packet.ifindex() {
        return Ok(None);
    }
    if pod.pod_mac != mac {
        if pod.flags & pod_flags::CHECK_MAC != 0 {
            return Err(DropReason::SpoofedMac);
        }
        if mac[0] & 1 == 0 {
            pods::learn(addr, mac);
        }
    }
    Ok(Some(Sender { flags: pod.flags, host_mac: pod.host_mac }))
}

/// The sender of a packet from an address that is not its own, where its interface permits that.
#[inline(always)]
pub fn foreign(packet: &Packet, mac: Mac) -> Option<Result<Sender, DropReason>> {
    let interface = interfaces::get(packet.ifindex())?;
    if interface.flags & pod_flags::ANY_SOURCE == 0 {
        return None;
    }
    if interface.flags & pod_flags::CHECK_MAC != 0 && interface.pod_mac != mac {
        return Some(Err(DropReason::SpoofedMac));
    }
    Some(Ok(Sender { flags: interface.flags, host_mac: interface.host_mac }))
}

#[inline(always)]
fn is_unspecified(addr: Addr) -> bool {
    addr.is_unspecified() || addr == Addr::v4([0; 4])
}
