//! Policies: a packet passes in a direction in which the pod is isolated if the rules allow it as it is, or if it
//! answers a connection that was opened the other way and that the rules allow.
//!
//! The programs decide here which packets are judged, and for which pod. The judgement itself ([`judge`]) is linked in
//! the place of [`policy_verdict`] when the node gets its first policy: a node without policies neither loads it nor
//! has its maps.

mod answer;
mod denial;
pub mod judge;
mod question;
mod rules;
mod socket;

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Denied, DropReason, Outcome, PolicyScratch, StackReason, pod_flags, policy::Direction};
use naru_packet::Ip;

use crate::{
    maps::{
        pods::{self, Pod},
        policy_scratch as scratch,
    },
    packet::Packet,
    sender::Sender,
};

/// The number of [`Direction::Egress`].
const EGRESS: u32 = Direction::Egress as u32;
const INGRESS: u32 = Direction::Ingress as u32;

/// The result of a judgement for packets that pass; for others it is a [`Denied`] by number.
const PASSES: u32 = 0;

/// Judges what a pod sends, by the destination that it has now; a Service that the node's stack translates is judged
/// by [`after_stack`].
#[inline(always)]
pub fn egress(packet: &Packet, ip: &Ip, sender: &Sender) -> Result<(), DropReason> {
    if sender.flags & pod_flags::JUDGED == 0 {
        return Ok(());
    }
    let scratch = scratch::take().ok_or(DropReason::HelperFailed)?;
    scratch.ifindex = packet.ifindex();
    (scratch.subject, scratch.netns, scratch.flags) = (sender.subject, sender.netns, sender.flags);
    (scratch.direction, scratch.is_by_node, scratch.may_be_service) = (EGRESS, 0, 1);
    conclude(packet, ip, scratch, DropReason::PolicyEgress)
}

/// Judges what the stack sends on for a pod, by the destination that it has given it.
#[inline(always)]
pub fn after_stack(packet: &Packet, ip: &Ip) -> Result<(), DropReason> {
    if packet.is_judged() {
        return Ok(());
    }
    let Some(pod) = pods::get(&ip.source) else { return Ok(()) };
    let flags = pod.flags();
    if flags & pod_flags::JUDGED == 0 {
        return Ok(());
    }
    let scratch = scratch::take().ok_or(DropReason::HelperFailed)?;
    (scratch.ifindex, scratch.subject, scratch.netns) = (pod.ifindex(), pod.subject(), pod.netns());
    (scratch.flags, scratch.direction) = (flags, EGRESS);
    (scratch.is_by_node, scratch.may_be_service) = (0, 0);
    if !pod.is_of(&ip.source) {
        scratch::give_back(scratch);
        return Ok(());
    }
    conclude(packet, ip, scratch, DropReason::PolicyEgress)
}

/// Judges what the stack is about to deliver to a pod. What a process of the node sends is let through: a forwarded
/// packet has no socket, whatever its address was made into.
#[inline(always)]
pub fn from_stack(packet: &Packet, ip: &Ip, pod: Pod) -> Result<(), Outcome> {
    if packet.is_judged() {
        return Ok(());
    }
    after_stack(packet, ip)?;
    ingress(packet, ip, pod, packet.has_socket())
}

/// Judges what a pod is about to receive, by the source that it has now.
#[inline(always)]
pub fn ingress(packet: &Packet, ip: &Ip, pod: Pod, is_by_node: bool) -> Result<(), Outcome> {
    let flags = pod.flags();
    if flags & pod_flags::JUDGED == 0 {
        return Ok(());
    }
    let scratch = scratch::take().ok_or(DropReason::HelperFailed)?;
    (scratch.ifindex, scratch.subject, scratch.netns) = (pod.ifindex(), pod.subject(), pod.netns());
    (scratch.flags, scratch.direction) = (flags, INGRESS);
    (scratch.is_by_node, scratch.may_be_service) = (is_by_node.into(), 0);
    if !pod.is_of(&ip.destination) {
        scratch::give_back(scratch);
        return Err(StackReason::Unassigned.into());
    }
    conclude(packet, ip, scratch, DropReason::PolicyIngress).map_err(Outcome::from)
}

#[inline(always)]
fn conclude(
    packet: &Packet,
    ip: &Ip,
    scratch: &mut PolicyScratch,
    denied: DropReason,
) -> Result<(), DropReason> {
    scratch::put_header(scratch, ip);
    let end = policy_verdict(packet.raw());
    scratch::give_back(scratch);
    match end {
        PASSES => Ok(()),
        end if end == Denied::Full as u32 => Err(DropReason::PolicyFull),
        end if end == Denied::Fragment as u32 => Err(DropReason::PolicyFragment),
        _ => Err(denied),
    }
}

/// Closes the pod: from the node's first policy on, [`judge::policy_judge`] is linked in the place of this function.
/// Both are global, so that the verifier looks at them by themselves.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_verdict(skb: *mut __sk_buff) -> u32 {
    let verdict: u64;
    // SAFETY: sets a register. The compiler must not conclude what callers get, nor that nothing is read here, nor that
    // they need not hand over the context. A real instruction: the kernel refuses two lines of source for one.
    unsafe { asm!("{0} = {2} # {1}", out(reg) verdict, in(reg) skb, const Denied::Unknown as u32) };
    verdict as u32
}
