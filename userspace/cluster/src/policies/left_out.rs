use naru_core::policy::model::PolicyName;

/// A policy that is not in force as its object says: what was in force before stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LeftOut {
    /// The policy.
    pub policy: PolicyName,
    /// The kind of reason.
    pub reason: Reason,
    /// The explanation in words.
    pub message: String,
}

/// The kinds of reasons for which a policy is left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// It does not fit a limit of a node.
    DoesNotFit,
    /// It cannot be read.
    Unreadable,
}

impl Reason {
    /// The word for it in an event.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::DoesNotFit => "PolicyDoesNotFit",
            Self::Unreadable => "PolicyUnreadable",
        }
    }
}
