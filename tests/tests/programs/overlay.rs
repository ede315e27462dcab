use naru_abi::{DropReason, Outcome};

/// Ends that only a real tunnel packet can come to.
pub const BY_WIRE: [Outcome; 4] = [
    Outcome::Drop(DropReason::ForeignOuterSource),
    Outcome::Drop(DropReason::ForeignInnerSource),
    Outcome::Drop(DropReason::ForeignKey),
    Outcome::Drop(DropReason::NotForThisNode),
];
