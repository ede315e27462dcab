use ipnet::IpNet;

use super::{LinkError, Links};

/// Preference of our policy rules.
pub const RULE_PREFERENCE: u32 = 5230;
/// The table they look up.
pub const TABLE: u32 = 5230;

/// `from <block> lookup 5230 pref 5230`, protocol [`naru_abi::ROUTE_PROTOCOL`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rule {
    /// The source prefix: an own block.
    pub from: IpNet,
}

impl Links {
    /// Our rules of both families.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn rules(&self) -> Result<Vec<Rule>, LinkError> {
        todo!()
    }

    /// Adds the rule unless it is there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_rule(&self, rule: Rule) -> Result<(), LinkError> {
        let _ = rule;
        todo!()
    }

    /// Removes the rule; `false` when it was gone already.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn delete_rule(&self, rule: Rule) -> Result<bool, LinkError> {
        let _ = rule;
        todo!()
    }
}
