//! A packet came by the underlay.

use naru_abi::StackReason;

use crate::{exit::Decision, packet::Packet};

/// What becomes of a packet at ingress of an uplink.
#[inline(always)]
pub fn decide(_: &mut Packet) -> Decision {
    Err(StackReason::NotOurs.into())
}
