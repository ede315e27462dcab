//! Lists: what the rules of a subject come to for the addresses of a class.

use naru_abi::policy::{Direction, MAX_PAGES, PAGE_RULES, PolicyRule, RuleVerdict, RulesKey, RulesValue};

use super::{ClassId, Member, SubjectId, subjects::Item};

/// The key of a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListKey {
    /// The subject.
    pub subject: SubjectId,
    /// The class.
    pub class: ClassId,
    /// The direction.
    pub direction: Direction,
}

impl ListKey {
    /// The key of a page of the list.
    #[must_use]
    pub const fn page(self, page: u16) -> RulesKey {
        RulesKey { subject: self.subject, class: self.class, direction: self.direction as u16, page }
    }
}

/// The rules of `items` that speak about addresses with these terms, without those that earlier ones hide.
pub fn rules(items: &[Item], members: &[Member]) -> Vec<PolicyRule> {
    let mut rules = Vec::<PolicyRule>::new();
    let mut add = |item: &Item, from, to| {
        let Item { protocol, tier, rule, .. } = *item;
        let added = PolicyRule { rule, from, to, protocol, verdict: item.verdict as u8, tier, reserved: 0 };
        if !rules.iter().any(|earlier| hides(earlier, &added)) {
            rules.push(added);
        }
    };
    for item in items {
        let Some(term) = item.peer else {
            add(item, item.from, item.to);
            continue;
        };
        let first = members.partition_point(|member| member.term < term);
        for member in members.iter().skip(first).take_while(|member| member.term == term) {
            if item.is_named {
                add(item, member.number, member.number);
            } else {
                add(item, item.from, item.to);
            }
        }
    }
    rules
}

/// Returns true if every packet that `later` matches was matched before. A rule of another tier hides nothing: a
/// verdict "pass" may have left it out.
const fn hides(earlier: &PolicyRule, later: &PolicyRule) -> bool {
    earlier.tier == later.tier
        && (earlier.protocol == 0 || earlier.protocol == later.protocol)
        && earlier.from <= later.from
        && later.to <= earlier.to
}

/// The number of pages that so many rules fill: at least one.
pub const fn page_count(rules: usize) -> usize {
    if rules == 0 { 1 } else { rules.div_ceil(PAGE_RULES) }
}

/// Returns true if a list of so many rules can be stored.
pub const fn fits(rules: usize) -> bool {
    page_count(rules) <= MAX_PAGES as usize
}

/// The entries of a list, the last page first: a list whose first page can be found is whole.
pub fn pages(key: ListKey, rules: &[PolicyRule]) -> Vec<RulesValue> {
    let count = page_count(rules.len());
    let page = |number: usize| {
        let part = rules.chunks(PAGE_RULES).nth(number).unwrap_or_default();
        let mut filled = [PolicyRule::EMPTY; PAGE_RULES];
        for (slot, rule) in filled.iter_mut().zip(part) {
            *slot = *rule;
        }
        RulesValue {
            key: key.page(u16::try_from(number).unwrap_or(u16::MAX)),
            count: u8::try_from(part.len()).unwrap_or(0),
            more: u8::from(number + 1 < count),
            otherwise: RuleVerdict::Deny as u8,
            reserved: 0,
            rules: filled,
        }
    };
    (0..count).rev().map(page).collect()
}
