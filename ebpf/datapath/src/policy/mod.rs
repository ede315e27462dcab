//! Policies: a packet passes in a direction in which the pod is isolated if the rules allow it as it is, or if it
//! answers a connection that was opened the other way and that the rules allow.
//!
//! The programs decide here which packets are judged, and for which pod. The judgement itself ([`judge`]) is linked in
//! the place of [`policy_verdict`] when the node gets its first policy: a node without policies neither loads it nor
//! has its maps.

mod answer;
mod denial;
pub mod error;
pub mod judge;
mod question;
mod rules;
mod socket;

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{
    Denied, DropReason, Outcome, PolicyScratch, StackReason, Stage, pod_flags, policy::Direction,
};
use naru_packet::Ip;

use crate::{
    maps::{
        interfaces,
        pods::{self, Pod},
        policy_scratch as scratch,
    },
    packet::{Note, Packet},
    sender::Sender,
};

/// The number of [`Direction::Egress`].
const EGRESS: u32 = Direction::Egress as u32;
const INGRESS: u32 = Direction::Ingress as u32;

/// The result of a judgement for packets that pass; for others it is a [`Denied`] by number.
const PASSES: u32 = 0;

/// Judges what a pod sends, by the destination that it has now; a Service that the node's stack translates is judged
/// by [`after_stack`]. An ICMP error may be shorter then, also in `ip`.
#[inline(always)]
pub fn egress(packet: &Packet, ip: &mut Ip, sender: &Sender) -> Result<(), DropReason> {
    if sender.flags & pod_flags::JUDGED == 0 {
        return Ok(());
    }
    let scratch = scratch::take().ok_or(DropReason::HelperFailed)?;
    scratch.ifindex = packet.ifindex();
    (scratch.subject, scratch.netns, scratch.flags) = (sender.subject, sender.netns, sender.flags);
    scratch.stage = Stage::Sent as u32;
    let passed = conclude(packet, ip, scratch, EGRESS, 0)?;
    ip.length = passed.length;
    packet.note(if passed.is_answer { Note::None } else { Note::Provisional });
    Ok(())
}

/// Judges what the stack sends on for a pod, by the destination that it has given it.
#[inline(always)]
pub fn after_stack(packet: &Packet, ip: &Ip) -> Result<(), DropReason> {
    if packet.is_judged() {
        return Ok(());
    }
    let Some(pod) = pods::get(&ip.source) else { return masqueraded(packet, ip) };
    let flags = pod.flags();
    if flags & pod_flags::JUDGED == 0 {
        return Ok(());
    }
    let scratch = scratch::take().ok_or(DropReason::HelperFailed)?;
    (scratch.ifindex, scratch.subject, scratch.netns) = (pod.ifindex(), pod.subject(), pod.netns());
    (scratch.flags, scratch.stage) = (flags, Stage::Routed as u32);
    if !pod.is_of(&ip.source) {
        scratch::give_back(scratch);
        return Ok(());
    }
    conclude(packet, ip, scratch, EGRESS, 0).map(drop)
}

/// The same of what a pod has sent, by the interface it came from, where the stack has given it another source: so it
/// does with what goes to a port of the node. What answers the other end has no note, and its destination is the one
/// that was asked for.
#[inline(always)]
fn masqueraded(packet: &Packet, ip: &Ip) -> Result<(), DropReason> {
    if !packet.is_provisional() {
        return Ok(());
    }
    let ifindex = packet.arrived_by();
    let Some(interface) = interfaces::get(ifindex) else { return Ok(()) };
    let flags = interface.flags();
    if flags & pod_flags::JUDGE_EGRESS == 0 {
        return Ok(());
    }
    let scratch = scratch::take().ok_or(DropReason::HelperFailed)?;
    (scratch.ifindex, scratch.subject, scratch.netns) = (ifindex, interface.subject(), 0);
    (scratch.flags, scratch.stage) = (flags, Stage::Masqueraded as u32);
    if !interface.is_of(ifindex) {
        scratch::give_back(scratch);
        return Ok(());
    }
    conclude(packet, ip, scratch, EGRESS, 0).map(drop)
}

/// Judges what the stack is about to deliver to a pod. What a process of the node sends is let through: a forwarded
/// packet has no socket, whatever its address was made into. So is what the pod has sent itself, to a Service or a port
/// of the node that leads back to it, and what answers that.
#[inline(always)]
pub fn from_stack(packet: &Packet, ip: &Ip, pod: Pod) -> Result<(), Outcome> {
    if packet.is_judged() {
        return Ok(());
    }
    let is_own = packet.arrived_by() == packet.ifindex();
    if !is_own {
        after_stack(packet, ip)?;
    }
    ingress(packet, ip, pod, is_own || packet.has_socket())
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
    (scratch.flags, scratch.stage) = (flags, Stage::Routed as u32);
    if !pod.is_of(&ip.destination) {
        scratch::give_back(scratch);
        return Err(StackReason::Unassigned.into());
    }
    conclude(packet, ip, scratch, INGRESS, is_by_node.into()).map(drop).map_err(Outcome::from)
}

/// A packet that passes.
struct Passed {
    /// As [`Ip::length`].
    length: u32,
    /// As [`PolicyScratch::is_answer`].
    is_answer: bool,
}

/// Has the packet judged.
#[inline(always)]
fn conclude(
    packet: &Packet,
    ip: &Ip,
    scratch: &mut PolicyScratch,
    direction: u32,
    is_by_node: u32,
) -> Result<Passed, DropReason> {
    (scratch.direction, scratch.is_by_node, scratch.is_answer) = (direction, is_by_node, 0);
    scratch::put_header(scratch, ip);
    let end = policy_verdict(packet.raw());
    // The judgement has written them, by a reference of its own. SAFETY: words of the scratch space.
    let (length, is_answer) = unsafe {
        ((&raw const scratch.length).read_volatile(), (&raw const scratch.is_answer).read_volatile())
    };
    let passed = Passed { length, is_answer: is_answer != 0 };
    scratch::give_back(scratch);
    match end {
        PASSES => Ok(passed),
        end if end == Denied::Full as u32 => Err(DropReason::PolicyFull),
        end if end == Denied::Fragment as u32 => Err(DropReason::PolicyFragment),
        _ if direction == EGRESS => Err(DropReason::PolicyEgress),
        _ => Err(DropReason::PolicyIngress),
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
