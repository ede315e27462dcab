//! Policy tables: an address leads to its class, a pod to its subject, and both to a list of rules.
//!
//! A *subject* is a set of policies that isolate a pod, with the numbers behind its named ports. A *class* is the set
//! of policy peers that an address belongs to on this node; class 0 belongs to none. An entry of `PEERS` holds the
//! whole class of its address, the prefixes of `PEER_NETS` around it included, so that one of both maps decides. A pair
//! of subject and class whose list is the same as the one of the class's base has no entry of its own in `RULES`: the
//! base is asked then, and class 0 last, which always has one.

use crate::{Addr, plain::plain};

/// Rules in one entry of `RULES`.
pub const PAGE_RULES: usize = 8;
/// Entries of one list at most.
pub const MAX_PAGES: u16 = 16;
/// The subject of a pod that policies isolate, and whose rules are not known: no entry of `RULES` has it, so nothing
/// passes.
pub const CLOSED_SUBJECT: u32 = u32::MAX;

/// Value of `PEERS`; the key is the peer's [`Addr`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerValue {
    /// The key once more, and first, for the comparison that [`crate::PodValue::address`] explains.
    pub address: Addr,
    /// The class of the address.
    pub class: u32,
    /// The class that `PEER_NETS` has for the address: its list counts where the class has none.
    pub base: u32,
}
plain!(PeerValue { address: Addr, class: u32, base: u32 });

/// Value of `PEER_NETS`; the key is a [`crate::Prefix`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerNetValue {
    /// The class of every address whose longest prefix this is and that has no entry in `PEERS`.
    pub class: u32,
}
plain!(PeerNetValue { class: u32 });

/// Key of `RULES`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RulesKey {
    /// The subject of the judged pod.
    pub subject: u32,
    /// The class of the peer.
    pub class: u32,
    /// A [`Direction`] by number.
    pub direction: u16,
    /// The page of the list, from 0.
    pub page: u16,
}
plain!(RulesKey { subject: u32, class: u32, direction: u16, page: u16 });

/// Value of `RULES`: a page of an ordered list, of which the first rule that matches decides.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RulesValue {
    /// The key once more, and first: the reason is that of [`crate::PodValue::address`].
    pub key: RulesKey,
    /// Rules in this page.
    pub count: u8,
    /// 1 if another page follows.
    pub more: u8,
    /// A [`RuleVerdict`] by number, for packets that no rule of the list matches.
    pub otherwise: u8,
    /// Zero.
    pub reserved: u8,
    /// The rules, zero behind `count`.
    pub rules: [PolicyRule; PAGE_RULES],
}
plain!(RulesValue {
    key: RulesKey,
    count: u8,
    more: u8,
    otherwise: u8,
    reserved: u8,
    rules: [PolicyRule; PAGE_RULES]
});

/// One rule of a list, for one protocol and one range of ports.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PolicyRule {
    /// Number of the rule on this node; its hits are counted under it.
    pub rule: u32,
    /// First port.
    pub from: u16,
    /// Last port.
    pub to: u16,
    /// IP protocol number; 0 for every protocol, those without ports included.
    pub protocol: u8,
    /// A [`RuleVerdict`] by number.
    pub verdict: u8,
    /// The tier of the rule: lists are in ascending order of tiers.
    pub tier: u8,
    /// Zero.
    pub reserved: u8,
}
plain!(PolicyRule { rule: u32, from: u16, to: u16, protocol: u8, verdict: u8, tier: u8, reserved: u8 });
// SAFETY: an array of a type without padding has none.
unsafe impl crate::Plain for [PolicyRule; PAGE_RULES] {}

/// The direction in which a pod is judged, as it sees it.
#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// Packets to the pod.
    Ingress = 0,
    /// Packets from the pod.
    Egress = 1,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word that commands print.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// The verdict of a rule.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RuleVerdict {
    /// The packet passes.
    Accept = 1,
    /// The packet does not pass.
    Deny = 2,
    /// The rules of later tiers decide.
    Pass = 3,
}

/// The maps as the judgement reads them; each answer is compared with the key that was asked for.
pub trait PolicyTables {
    /// The entry of `PEERS`.
    fn peer(&self, address: &Addr) -> Option<PeerValue>;
    /// The class of the longest prefix of `PEER_NETS`; 0 for none.
    fn net(&self, address: &Addr) -> u32;
    /// The entry of `RULES`.
    fn page(&self, key: &RulesKey) -> Option<&RulesValue>;
}

/// The answer about one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It passes by this rule, or, by rule 0, since no rule forbids it.
    Accept(u32),
    /// This rule forbids it, or, by rule 0, no rule allows it.
    Deny(u32),
    /// The subject has no list, or one with a page missing: the packet must not pass.
    Incomplete,
}

/// A packet, as far as rules tell packets apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The subject of the judged pod.
    pub subject: u32,
    /// The direction, as that pod sees it.
    pub direction: Direction,
    /// The other end.
    pub peer: Addr,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port; 0 for protocols without ports.
    pub port: u16,
}

/// The class of an address, and the class that stands in for it where it has no list.
#[inline(always)]
pub fn classes<T: PolicyTables>(tables: &T, address: &Addr) -> (u32, u32) {
    match tables.peer(address) {
        Some(peer) => (peer.class, peer.base),
        None => (tables.net(address), 0),
    }
}

/// Judges a packet by the tables.
#[inline(always)]
pub fn judge<T: PolicyTables>(tables: &T, question: &Question) -> Judgement {
    let (class, base) = classes(tables, &question.peer);
    let mut key =
        RulesKey { subject: question.subject, class, direction: question.direction as u16, page: 0 };
    if tables.page(&key).is_none() {
        key.class = base;
        if tables.page(&key).is_none() {
            key.class = 0;
        }
    }
    by_list(tables, &mut key, question)
}

/// Judges a packet by the list that begins at `key`.
#[allow(clippy::needless_range_loop, reason = "an iterator would be counted by pointers")]
#[inline(always)]
fn by_list<T: PolicyTables>(tables: &T, key: &mut RulesKey, question: &Question) -> Judgement {
    // A verdict "pass" leaves out the rest of its tier. It begins with a zero of the first page: of a number that the
    // verifier knows it would follow each value apart, rule by rule.
    let Some(first) = tables.page(key) else { return Judgement::Incomplete };
    let mut from_tier = u32::from(first.reserved);
    // Counted apart from the key: of a number in two bytes of its stack the verifier does not know how far it may grow.
    for page in 0..u32::from(MAX_PAGES) {
        key.page = page as u16;
        let Some(page) = tables.page(key) else { return Judgement::Incomplete };
        // Places by number, to a constant limit: before 6.3 the verifier knows no bounds of a pointer counted down from
        // `count`.
        for at in 0..PAGE_RULES {
            if at >= usize::from(page.count) {
                break;
            }
            let rule = &page.rules[at];
            let tier = u32::from(rule.tier);
            if tier < from_tier || !rule.matches(question.protocol, question.port) {
                continue;
            }
            match rule.verdict {
                verdict if verdict == RuleVerdict::Accept as u8 => return Judgement::Accept(rule.rule),
                verdict if verdict == RuleVerdict::Pass as u8 => from_tier = tier + 1,
                _ => return Judgement::Deny(rule.rule),
            }
        }
        if page.more == 0 {
            let passes = page.otherwise == RuleVerdict::Accept as u8;
            return if passes { Judgement::Accept(0) } else { Judgement::Deny(0) };
        }
    }
    Judgement::Incomplete
}

impl PolicyRule {
    /// All zero.
    pub const EMPTY: Self = Self { rule: 0, from: 0, to: 0, protocol: 0, verdict: 0, tier: 0, reserved: 0 };

    /// Returns true if the rule is about such packets.
    #[inline(always)]
    #[must_use]
    pub const fn matches(&self, protocol: u8, port: u16) -> bool {
        (self.protocol == 0 || self.protocol == protocol) && self.from <= port && port <= self.to
    }
}
