use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage},
};

use super::{FAMILIES, LinkError, Links, MAIN, family_of, socket::LinkRequest};

/// The main table's own rule (`ip rule`): everything behind it leads nowhere that the main table does not.
const MAIN_PREFERENCE: u32 = 32766;
/// The table of local addresses (`RT_TABLE_LOCAL`).
const LOCAL: u32 = 255;

/// The packets that a rule selects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Selector {
    /// Packets from the prefix.
    From(IpNet),
    /// Packets to the prefix.
    To(IpNet),
}

impl Selector {
    /// The prefix itself.
    #[must_use]
    pub const fn prefix(self) -> IpNet {
        match self {
            Self::From(prefix) | Self::To(prefix) => prefix,
        }
    }
}

/// `from|to <prefix> lookup <table> pref <preference>`, of the protocol of the caller's [`crate::Marks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rule {
    /// The selected packets.
    pub selector: Selector,
    /// The table they are looked up in.
    pub table: u32,
    /// Its place among the rules: the smaller the earlier.
    pub preference: u32,
    /// The longest prefix of a route that does not count (`suppress_prefixlength`).
    pub suppress: Option<u32>,
}

/// A rule of somebody else's that packets meet before the main table's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ForeignRule {
    /// Its place among the rules.
    pub preference: u32,
    /// True if it is about IPv4.
    pub v4: bool,
    /// The table it looks up; `None` where it ends or skips the look-up.
    pub table: Option<u32>,
}

/// The rules of both families.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleList {
    /// The caller's own.
    pub own: BTreeSet<Rule>,
    /// Those of others, those of the kernel left out.
    pub foreign: Vec<ForeignRule>,
    /// True if any rule asks for the ports of a packet.
    pub asks_for_ports: bool,
}

impl Links {
    /// The rules of both families.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn rules(&self) -> Result<RuleList, LinkError> {
        let mut list = RuleList::default();
        for family in FAMILIES {
            let mut question = RuleMessage::default();
            question.header.family = family;
            let answers = self.dump(&RouteNetlinkMessage::GetRule(question), "rules: list")?;
            for answer in &answers {
                let RouteNetlinkMessage::NewRule(rule) = answer else { continue };
                list.asks_for_ports |= rule.attributes.iter().any(is_about_ports);
                let is_ours =
                    rule.attributes.iter().any(|one| *one == RuleAttribute::Protocol(self.protocol()));
                if is_ours {
                    list.own.extend(parsed(rule));
                } else {
                    list.foreign.extend(foreign(rule, family));
                }
            }
        }
        list.foreign.sort_unstable();
        Ok(list)
    }

    /// Adds the rule unless it is there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_rule(&self, rule: Rule) -> Result<(), LinkError> {
        match self.ask(add(rule, self.protocol())) {
            Err(error) if !error.is_present() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the rule; `false` when it was gone already.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn delete_rule(&self, rule: Rule) -> Result<bool, LinkError> {
        self.removed(LinkRequest::new(
            RouteNetlinkMessage::DelRule(message(rule, self.protocol())),
            what(rule, "delete"),
        ))
    }
}

fn what(rule: Rule, action: &str) -> String {
    match rule.selector {
        Selector::From(prefix) => format!("rule from {prefix}: {action}"),
        Selector::To(prefix) => format!("rule to {prefix}: {action}"),
    }
}

/// The request that adds the rule, unless it is there.
pub fn add(rule: Rule, protocol: RouteProtocol) -> LinkRequest {
    LinkRequest::new(RouteNetlinkMessage::NewRule(message(rule, protocol)), what(rule, "add"))
        .with(NLM_F_CREATE | NLM_F_EXCL)
}

/// The rule as the kernel takes it.
fn message(rule: Rule, protocol: RouteProtocol) -> RuleMessage {
    let prefix = rule.selector.prefix();
    let mut message = RuleMessage::default();
    message.header =
        RuleHeader { family: family_of(prefix.addr()), action: RuleAction::ToTable, ..RuleHeader::default() };
    message.attributes = vec![
        RuleAttribute::Priority(rule.preference),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(protocol),
    ];
    match rule.selector {
        Selector::From(_) => {
            message.header.src_len = prefix.prefix_len();
            message.attributes.push(RuleAttribute::Source(prefix.network()));
        }
        Selector::To(_) => {
            message.header.dst_len = prefix.prefix_len();
            message.attributes.push(RuleAttribute::Destination(prefix.network()));
        }
    }
    message.attributes.extend(rule.suppress.map(RuleAttribute::SuppressPrefixLen));
    message
}

/// A rule of the caller's as the kernel lists it; `None` for one of a form that we never make.
fn parsed(message: &RuleMessage) -> Option<Rule> {
    let (mut from, mut to) = (None::<IpAddr>, None::<IpAddr>);
    let (mut table, mut preference, mut suppress) = (u32::from(message.header.table), 0, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(ip) => from = Some(*ip),
            RuleAttribute::Destination(ip) => to = Some(*ip),
            RuleAttribute::Priority(value) => preference = *value,
            RuleAttribute::Table(value) => table = *value,
            RuleAttribute::SuppressPrefixLen(length) => {
                suppress = Some(*length).filter(|one| *one != u32::MAX)
            }
            _ => {}
        }
    }
    let selector = match (from, to) {
        (Some(from), None) => Selector::From(IpNet::new(from, message.header.src_len).ok()?),
        (None, Some(to)) => Selector::To(IpNet::new(to, message.header.dst_len).ok()?),
        _ => return None,
    };
    Some(Rule { selector, table, preference, suppress })
}

fn is_about_ports(attribute: &RuleAttribute) -> bool {
    matches!(attribute, RuleAttribute::SourcePortRange(_) | RuleAttribute::DestinationPortRange(_))
}

/// Returns a foreign rule if packets meet it before the main table's rule and it may lead them elsewhere. The rule of
/// VRF devices is for their packets only, which must not reach pods by a rule of ours.
fn foreign(message: &RuleMessage, family: AddressFamily) -> Option<ForeignRule> {
    let mut table =
        Some(u32::from(message.header.table)).filter(|_| message.header.action == RuleAction::ToTable);
    let (mut preference, mut is_of_vrf) = (0, false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(value) => preference = *value,
            RuleAttribute::Table(value) => table = table.map(|_| *value),
            RuleAttribute::L3MDev(on) => is_of_vrf = *on,
            _ => {}
        }
    }
    let is_kernels = table == Some(LOCAL) || table == Some(MAIN);
    let leads_elsewhere = preference < MAIN_PREFERENCE && !is_kernels && !is_of_vrf;
    leads_elsewhere.then_some(ForeignRule { preference, v4: family == AddressFamily::Inet, table })
}
