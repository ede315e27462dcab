//! The rules.

use naru_abi::{
    Denied, RuleHits,
    policy::{Direction, Judgement, Question, judge},
};
use naru_packet::protocol;

use super::{EGRESS, PASSES};
use crate::maps::{
    policies::{self, Tables},
    policy_scratch,
};

/// Asks the rules about the packet of `scratch.flow`, or about the packets of the other direction if `is_reverse`.
/// Returns [`PASSES`] or a [`Denied`] by number.
#[inline(always)]
pub fn ask(is_reverse: bool) -> u32 {
    policy_rules(is_reverse.into())
}

/// [`ask`]; global, as [`super::judge`].
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
