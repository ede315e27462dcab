//! The rules.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{
    Denied, PolicyScratch, RuleHits, pod_flags,
    policy::{Direction, Judgement, Question, judge},
};
use naru_packet::protocol;

use super::{EGRESS, PASSES, judge::hidden};
use crate::{
    maps::{
        policies::{self, Tables},
        policy_scratch,
    },
    route::fib::is_local,
};

/// Asks the rules about the packet of `scratch.flow`, or about the packets of the other direction if `is_reverse`, and
/// then whether it is for the pod's own node, to which all may pass. Returns [`PASSES`] or a [`Denied`] by number.
#[inline(always)]
pub fn ask(skb: *mut __sk_buff, scratch: &mut PolicyScratch, is_reverse: bool) -> u32 {
    let end = policy_rules(is_reverse.into());
    let end = hidden(scratch, end);
    let asks = scratch.flags & pod_flags::OWN_NODE != 0 && (scratch.direction == EGRESS) != is_reverse;
    if end != PASSES && asks && policy_is_own_node(skb) != 0 { PASSES } else { end }
}

/// Returns 1 if the other end of `scratch.flow` is an address of this node, by the kernel's own routes: whatever it is
/// for, and whoever gave it to the node. Global, as [`super::judge`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_is_own_node(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = policy_scratch::taken() else { return 0 };
    let flow = &scratch.flow;
    let (pod, peer) = match scratch.direction {
        EGRESS => (&flow.source, &flow.destination),
        _ => (&flow.destination, &flow.source),
    };
    is_local(skb, scratch.ifindex, pod, peer).into()
}

/// The rules' part of [`ask`]; global, as [`super::judge`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn policy_rules(is_reverse: u32) -> u32 {
    let Some(scratch) = policy_scratch::taken() else { return Denied::Unknown as u32 };
    let is_reverse = is_reverse != 0;
    let flow = &scratch.flow;
    let is_out = scratch.direction == EGRESS;
    let question = Question {
        subject: scratch.subject,
        direction: if is_out != is_reverse { Direction::Egress } else { Direction::Ingress },
        peer: if is_out { flow.destination } else { flow.source },
        protocol: flow.protocol as u8,
        port: match has_ports(flow.protocol) {
            false => 0,
            true if is_reverse => flow.source_port,
            true => flow.destination_port,
        },
    };
    let (end, rule) = match judge(&Tables, &question) {
        Judgement::Accept(rule) => (PASSES, rule),
        Judgement::Deny(rule) => (Denied::ByRules as u32, rule),
        Judgement::Incomplete => (Denied::Unknown as u32, 0),
    };
    if !is_reverse {
        scratch.rule = rule;
        if rule != 0 {
            policies::hit(rule, RuleHits { packets: 1, bytes: scratch.length.into() });
        }
    }
    end
}

/// Returns true for protocols with ports.
#[inline(always)]
pub fn has_ports(number: u32) -> bool {
    let protocols = [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::UDP_LITE, protocol::DCCP];
    protocols.into_iter().any(|one| number == u32::from(one))
}
