//! Source address and MAC validation: the first stage of what a pod sends.

use naru_abi::{Addr, DropReason, look, pod_flags};
use naru_packet::{Ip, Mac, is_link_local};

use crate::{
    maps::{interfaces, pods},
    packet::Packet,
};

/// Facts about a packet's sender. It is filled in place: in a `Result` the compiler would pack the pointer and an error
/// into one word, and the verifier permits no arithmetic of that kind on pointers.
#[derive(Clone, Copy)]
pub struct Sender {
    /// Bits of [`pod_flags`].
    pub flags: u32,
    /// Maps in which to look for flows that its packets answer; bits of [`look`].
    pub sends_answers: u32,
    /// The set of policies that isolate it.
    pub subject: u32,
    /// As [`naru_abi::PodValue::netns`].
    pub netns: u32,
    /// MAC address of its host veth, in the map: if the entry is just being reused, it is another pod's, and the inner
    /// frame of a tunnel packet gets that MAC address, which nobody checks.
    pub host_mac: Option<&'static Mac>,
}

impl Sender {
    /// Nobody yet.
    pub const NONE: Self = Self { flags: 0, sends_answers: 0, subject: 0, netns: 0, host_mac: None };
}

/// Finds the sender of this IP packet.
#[inline(always)]
pub fn check(packet: &Packet, mac: &Mac, ip: &Ip, sender: &mut Sender) -> Result<(), DropReason> {
    if own(packet, mac, &ip.source, sender)? {
        return Ok(());
    }
    if is_link_local(ip.source) || is_unspecified(ip.source) {
        return Err(DropReason::LinkLocal);
    }
    if foreign(packet, mac, sender)? { Ok(()) } else { Err(DropReason::SpoofedSource) }
}

/// Returns true if `addr` is an address of the pod behind this interface, which then becomes the sender. Checks the
/// packet's source MAC address, or learns it.
#[inline(always)]
pub fn own(packet: &Packet, mac: &Mac, addr: &Addr, sender: &mut Sender) -> Result<bool, DropReason> {
    let Some(pod) = pods::get(addr) else { return Ok(false) };
    sender.flags = pod.flags();
    sender.sends_answers = pod.sends_answers();
    (sender.subject, sender.netns) = (pod.subject(), pod.netns());
    sender.host_mac = Some(pod.host_mac());
    let is_current = pod.mac() == *mac;
    if !pod.is_behind(packet.ifindex()) {
        return Ok(false);
    }
    if !is_current {
        if sender.flags & pod_flags::CHECK_MAC != 0 {
            return Err(DropReason::SpoofedMac);
        }
        if mac[0] & 1 == 0 {
            pods::learn(addr, *mac);
        }
    }
    Ok(true)
}

/// Returns true if the interface may send from addresses that are not its own. Such addresses do not mark the pod, so
/// the maps of flows are always looked up.
#[inline(always)]
pub fn foreign(packet: &Packet, mac: &Mac, sender: &mut Sender) -> Result<bool, DropReason> {
    let Some(interface) = interfaces::get(packet.ifindex()) else { return Ok(false) };
    sender.flags = interface.flags();
    sender.sends_answers = look::EVERYWHERE;
    (sender.subject, sender.netns) = (interface.subject(), 0);
    sender.host_mac = Some(interface.host_mac());
    let is_assigned = interface.pod_mac() == *mac;
    if !interface.is_of(packet.ifindex()) || sender.flags & pod_flags::ANY_SOURCE == 0 {
        return Ok(false);
    }
    if sender.flags & pod_flags::CHECK_MAC != 0 && !is_assigned {
        return Err(DropReason::SpoofedMac);
    }
    Ok(true)
}

#[inline(always)]
fn is_unspecified(addr: Addr) -> bool {
    addr.is_unspecified() || addr == Addr::v4([0; 4])
}
