use std::net::IpAddr;

use ipnet::IpNet;
use naru_abi::ROUTE_PROTOCOL;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage},
};

use super::{FAMILIES, LinkError, Links, family_of, socket::Request};

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
        let mut list = Vec::new();
        for family in FAMILIES {
            let mut question = RuleMessage::default();
            question.header.family = family;
            let answers = self.dump(&RouteNetlinkMessage::GetRule(question), "rules: list")?;
            list.extend(
                answers.iter().filter_map(parsed).filter(|rule| family_of(rule.from.addr()) == family),
            );
        }
        list.sort_unstable();
        Ok(list)
    }

    /// Whether any rule, whoever made it, asks for the ports of a packet.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn rules_ask_for_ports(&self) -> Result<bool, LinkError> {
        for family in FAMILIES {
            let mut question = RuleMessage::default();
            question.header.family = family;
            let answers = self.dump(&RouteNetlinkMessage::GetRule(question), "rules: list")?;
            if answers.iter().any(asks_for_ports) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds the rule unless it is there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_rule(&self, rule: Rule) -> Result<(), LinkError> {
        let what = format!("rule from {}: add", rule.from);
        let request = Request::new(RouteNetlinkMessage::NewRule(message(rule)), what);
        match self.ask(request.with(NLM_F_CREATE | NLM_F_EXCL)) {
            Err(error) if !error.is_present() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the rule; `false` when it was gone already.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn delete_rule(&self, rule: Rule) -> Result<bool, LinkError> {
        let what = format!("rule from {}: delete", rule.from);
        self.removed(Request::new(RouteNetlinkMessage::DelRule(message(rule)), what))
    }
}

/// The rule as the kernel takes it.
fn message(rule: Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: family_of(rule.from.addr()),
        src_len: rule.from.prefix_len(),
        action: RuleAction::ToTable,
        ..RuleHeader::default()
    };
    message.attributes = vec![
        RuleAttribute::Source(rule.from.network()),
        RuleAttribute::Priority(RULE_PREFERENCE),
        RuleAttribute::Table(TABLE),
        RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)),
    ];
    message
}

fn asks_for_ports(message: &RouteNetlinkMessage) -> bool {
    let RouteNetlinkMessage::NewRule(RuleMessage { attributes, .. }) = message else { return false };
    attributes.iter().any(|attribute| {
        matches!(attribute, RuleAttribute::SourcePortRange(_) | RuleAttribute::DestinationPortRange(_))
    })
}

/// What the kernel says of one rule, if it is ours.
fn parsed(message: &RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(RuleMessage { header, attributes, .. }) = message else {
        return None;
    };
    let (mut source, mut ours, mut preferred) = (None::<IpAddr>, false, false);
    for attribute in attributes {
        match attribute {
            RuleAttribute::Source(ip) => source = Some(*ip),
            RuleAttribute::Protocol(protocol) => ours = *protocol == RouteProtocol::Other(ROUTE_PROTOCOL),
            RuleAttribute::Priority(preference) => preferred = *preference == RULE_PREFERENCE,
            _ => {}
        }
    }
    let from = IpNet::new(source?, header.src_len).ok()?;
    (ours && preferred).then_some(Rule { from })
}
