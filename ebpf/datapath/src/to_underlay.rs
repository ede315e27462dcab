//! A packet is about to leave by the underlay.

use naru_abi::Verdict;

use crate::{
    exit::{Decision, Next},
    packet::Packet,
};

/// What becomes of a packet at egress of an uplink.
#[inline(always)]
pub fn decide(_: &mut Packet) -> Decision {
    Ok(Next::Pass(Verdict::Deliver))
}
