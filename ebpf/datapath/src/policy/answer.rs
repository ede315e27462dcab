//! Answers: packets of connections that were opened the other way.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{Opener, PolicyScratch, STATE_TICK, state_flags};
use naru_packet::protocol;

use super::{
    EGRESS, PASSES,
    judge::{hidden, is_judged},
    rules, socket,
};
use crate::maps::states;

/// The time for which `STATES` is believed about a TCP connection: so long after its first packet, or after the last
/// look at its socket, in the unit of [`STATE_TICK`].
const BELIEVED: u32 = (2_000_000_000u64 >> STATE_TICK) as u32;

/// The part of a number that is that of an [`Opener`]. The flags that may be in the rest are others.
const OPENER: u32 = 3;
const _: () = assert!((state_flags::NODE | state_flags::SOCKET | state_flags::HELD) & OPENER == 0);

/// Returns true if the packet answers a connection that was opened the other way, and that the rules allow: an answer
/// goes where the packets that it answers come from.
#[inline(always)]
pub fn is_one(skb: *mut __sk_buff, scratch: &mut PolicyScratch) -> bool {
    let found = opener(skb, scratch);
    let found = hidden(scratch, found);
    let (opener, confirmed) = (found & OPENER, found & !OPENER);
    if confirmed != 0 {
        states::enter(true, state_flags::TCP | confirmed);
    }
    let is_other = match scratch.direction {
        EGRESS => opener == Opener::Peer as u32 || opener == Opener::Node as u32,
        _ => opener == Opener::Pod as u32,
    };
    let is_free = opener == Opener::Node as u32 || !is_judged(scratch.flags, 1 - scratch.direction);
    is_other && (is_free || rules::ask(skb, scratch, true) == PASSES)
}

/// Whoever opened the connection of the packet, as [`OPENER`]; 0 where it is not known to be opened the other way.
/// Beside it, the flags with which it is to be entered in `STATES`. A function of its own, for a stack of its own.
#[inline(never)]
fn opener(skb: *mut __sk_buff, scratch: &mut PolicyScratch) -> u32 {
    let found = states::answered(scratch);
    let known = match &found {
        None => 0,
        Some(found) if found.flags & state_flags::NODE != 0 => Opener::Node as u32,
        Some(_) if scratch.direction == EGRESS => Opener::Peer as u32,
        Some(_) => Opener::Pod as u32,
    };
    if scratch.flow.protocol != u32::from(protocol::TCP) {
        return known;
    }
    if found.is_some_and(|found| found.flags & state_flags::HELD != 0 || found.idle <= BELIEVED) {
        return known;
    }
    by_socket(skb, scratch, known)
}

/// The same where `STATES` has nothing fresh: by the pod's socket. What was found in `STATES` is `known`.
#[inline(always)]
fn by_socket(skb: *mut __sk_buff, scratch: &mut PolicyScratch, known: u32) -> u32 {
    let opener = socket::opener(skb, scratch, known);
    let (opener, confirmed) = match hidden(scratch, opener) {
        socket::NONE if known != 0 => (known, state_flags::HELD),
        socket::NONE => return 0,
        socket::CLOSING => return known,
        opener => (opener, state_flags::SOCKET),
    };
    let is_pods = opener == Opener::Pod as u32;
    let by_node = if opener == Opener::Node as u32 { state_flags::NODE } else { 0 };
    if is_pods == (scratch.direction == EGRESS) { opener } else { opener | confirmed | by_node }
}

/// Returns true if `STATES` has the connection that the packet would answer. As [`opener`].
#[inline(never)]
pub fn is_known(scratch: &mut PolicyScratch) -> bool {
    states::answered(scratch).is_some()
}
