use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage},
};

use super::{FAMILIES, LinkError, Links, family_of, socket::Request};
use crate::Marks;

/// `from <block> lookup <table> pref <preference>` with the table, preference and protocol of the caller's [`Marks`].
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
                answers
                    .iter()
                    .filter_map(|answer| parsed(answer, self.marks()))
                    .filter(|rule| family_of(rule.from.addr()) == family),
            );
        }
        list.sort_unstable();
        Ok(list)
    }

    /// Adds the rule unless it is there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_rule(&self, rule: Rule) -> Result<(), LinkError> {
        let what = format!("rule from {}: add", rule.from);
        let request = Request::new(RouteNetlinkMessage::NewRule(message(rule, self.marks())), what);
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
        self.removed(Request::new(RouteNetlinkMessage::DelRule(message(rule, self.marks())), what))
    }
}

/// The request for a rule by which packets from that source look `table` up, unless it is there.
pub fn by_source(from: IpNet, table: u32, marks: &Marks) -> Request {
    let rule = message(Rule { from }, &Marks { table, ..*marks });
    let what = format!("rule from {from}: add");
    Request::new(RouteNetlinkMessage::NewRule(rule), what).with(NLM_F_CREATE | NLM_F_EXCL)
}

/// The rule as the kernel takes it.
fn message(rule: Rule, marks: &Marks) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: family_of(rule.from.addr()),
        src_len: rule.from.prefix_len(),
        action: RuleAction::ToTable,
        ..RuleHeader::default()
    };
    message.attributes = vec![
        RuleAttribute::Source(rule.from.network()),
        RuleAttribute::Priority(marks.preference),
        RuleAttribute::Table(marks.table),
        RuleAttribute::Protocol(RouteProtocol::Other(marks.protocol)),
    ];
    message
}

/// What the kernel says of one rule, if it is ours.
fn parsed(message: &RouteNetlinkMessage, marks: &Marks) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(RuleMessage { header, attributes, .. }) = message else {
        return None;
    };
    let (mut source, mut ours, mut preferred) = (None::<IpAddr>, false, false);
    for attribute in attributes {
        match attribute {
            RuleAttribute::Source(ip) => source = Some(*ip),
            RuleAttribute::Protocol(protocol) => ours = *protocol == RouteProtocol::Other(marks.protocol),
            RuleAttribute::Priority(preference) => preferred = *preference == marks.preference,
            _ => {}
        }
    }
    let from = IpNet::new(source?, header.src_len).ok()?;
    (ours && preferred).then_some(Rule { from })
}
