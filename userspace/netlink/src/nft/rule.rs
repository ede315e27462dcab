use std::fmt;

use super::{
    Attributes, Batch, Device, NftError, Socket, Statement, TableName, Verdict,
    attribute::{attributes, find, long, number, text},
    batch::{APPEND, CREATE},
    expression::{self, compare, extension, immediate, meta},
    message::{NftRequest, kind},
    statement::compile,
};

/// `NFTA_RULE_CHAIN`.
pub(super) const CHAIN: u16 = 2;
/// `NFTA_RULE_HANDLE`.
const HANDLE: u16 = 3;
/// `NFTA_RULE_EXPRESSIONS`.
pub(super) const EXPRESSIONS: u16 = 4;
/// `NFTA_RULE_COMPAT`: the protocol that extensions of x_tables are checked for, and its flags.
const COMPATIBILITY: u16 = 5;
/// `NFTA_RULE_USERDATA`.
pub(super) const USER_DATA: u16 = 7;
/// `NFTA_LOG_GROUP`.
const LOG_GROUP: u16 = 1;
/// `NFTNL_UDATA_RULE_COMMENT`.
const USER_COMMENT: u8 = 0;

/// A rule to be made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rule {
    /// Its parts, in their order.
    pub statements: Vec<Statement>,
    /// A text that listings show.
    pub comment: Option<String>,
}

impl Rule {
    /// A rule without a comment.
    #[must_use]
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self { statements: statements.into(), comment: None }
    }

    fn attributes(&self, table: &TableName, chain: &str) -> Attributes {
        let expressions = compile(&self.statements);
        let mut attributes = table.attributes().text(CHAIN, chain).nested(EXPRESSIONS, &expressions);
        if self.statements.iter().any(|statement| matches!(statement, Statement::Comment(_))) {
            attributes = attributes.nested(COMPATIBILITY, &Attributes::new().number(1, 0).number(2, 0));
        }
        match &self.comment {
            // Type, length, text, and its final zero, in single bytes.
            Some(comment) => {
                let text = [comment.as_bytes(), b"\0"].concat();
                let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
                attributes.bytes(USER_DATA, &[&[USER_COMMENT, length], text.as_slice()].concat())
            }
            None => attributes,
        }
    }
}

/// The rule as nft writes it, without its comment.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, statement) in self.statements.iter().enumerate() {
            write!(f, "{}{statement}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Batch {
    /// Adds the rule at the end of the chain.
    pub fn add_rule(&mut self, table: &TableName, chain: &str, rule: &Rule) {
        self.put_rule(table, chain, rule, CREATE | APPEND);
    }

    /// Adds the rule at the head of the chain.
    pub fn insert_rule(&mut self, table: &TableName, chain: &str, rule: &Rule) {
        self.put_rule(table, chain, rule, CREATE);
    }

    /// Deletes the rule of that handle.
    pub fn delete_rule(&mut self, table: &TableName, rule: &ListedRule) {
        let attributes = table.attributes().text(CHAIN, &rule.chain).long(HANDLE, rule.handle);
        let what = format!("nftables table {table}: chain {}: rule {}: delete", rule.chain, rule.handle);
        self.push(table, kind::DELETE_RULE, 0, attributes, what);
    }

    fn put_rule(&mut self, table: &TableName, chain: &str, rule: &Rule, flags: u16) {
        let what = format!("nftables table {table}: chain {chain}: rule {rule}: add");
        self.push(table, kind::NEW_RULE, flags, rule.attributes(table, chain), what);
    }
}

/// A listed rule of whatever owner, as far as it is understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedRule {
    /// Its chain.
    pub chain: String,
    /// The kernel's number for it.
    pub handle: u64,
    /// Its expressions, in their order.
    pub parts: Vec<Part>,
    /// The text that nft keeps at it.
    pub comment: Option<String>,
}

/// An expression of somebody else's rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// The verdict about the packet.
    Verdict(Verdict),
    /// The packet is refused with an answer.
    Reject,
    /// An extension of x_tables of that name acts on the packet.
    Target(String),
    /// The packet is counted.
    Counter,
    /// The packet is logged: by the kernel, or to a group that some process listens to.
    Log {
        /// True if to a group.
        to_group: bool,
    },
    /// The text that iptables keeps at a rule; every packet matches.
    Comment(String),
    /// The name of a device is loaded.
    LoadDevice(Device),
    /// The value that was loaded begins with these bytes.
    Begins(Vec<u8>),
    /// Any other expression, by the kernel's name: it may or may not let a packet pass.
    Other(String),
}

impl Socket {
    /// Lists the rules of the table, or of one chain of it, in their order; none where it does not exist.
    ///
    /// # Errors
    /// The kernel refuses, or the list changes all the time.
    pub fn rules(&mut self, table: &TableName, chain: Option<&str>) -> Result<Vec<ListedRule>, NftError> {
        let attributes = match chain {
            Some(chain) => table.attributes().text(CHAIN, chain),
            None => table.attributes(),
        };
        let what = format!("nftables table {table}: rules");
        let request =
            NftRequest { kind: kind::GET_RULE, flags: 0, family: Some(table.family), attributes, what };
        let incomplete = || NftError::unexpected(&request.what, "a rule without chain or handle");
        let objects = self.dump(&request)?;
        objects.iter().map(|object| ListedRule::read(&object.attributes).ok_or_else(incomplete)).collect()
    }
}

impl ListedRule {
    fn read(rule: &[u8]) -> Option<Self> {
        let expressions = find(rule, EXPRESSIONS).unwrap_or_default();
        Some(Self {
            chain: text(rule, CHAIN)?.to_owned(),
            handle: long(rule, HANDLE)?,
            parts: attributes(expressions).map(|(_, expression)| Part::read(expression)).collect(),
            comment: comment(rule),
        })
    }
}

/// The text that nft keeps at the rule.
pub(super) fn comment(rule: &[u8]) -> Option<String> {
    let mut rest = find(rule, USER_DATA)?;
    while let [kind, length, content @ ..] = rest {
        let content_of = content.get(..usize::from(*length))?;
        if *kind == USER_COMMENT {
            let text = content_of.strip_suffix(b"\0").unwrap_or(content_of);
            return String::from_utf8(text.to_vec()).ok();
        }
        rest = content.get(usize::from(*length)..)?;
    }
    None
}

impl Part {
    fn read(expression: &[u8]) -> Self {
        let name = text(expression, expression::NAME).unwrap_or_default();
        let data = find(expression, expression::DATA).unwrap_or_default();
        Self::known(name, data).unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    fn known(name: &str, data: &[u8]) -> Option<Self> {
        match name {
            "immediate" if number(data, immediate::REGISTER)? == expression::VERDICT_REGISTER => {
                let verdict = find(find(data, immediate::DATA)?, expression::VERDICT)?;
                Verdict::read(verdict).map(Self::Verdict)
            }
            "reject" => Some(Self::Reject),
            "target" => Some(Self::Target(text(data, extension::NAME)?.to_owned())),
            "counter" => Some(Self::Counter),
            "log" => Some(Self::Log { to_group: find(data, LOG_GROUP).is_some() }),
            "match" if text(data, extension::NAME)? == "comment" => {
                let info = find(data, extension::INFO)?.split(|byte| *byte == 0).next()?;
                Some(Self::Comment(String::from_utf8_lossy(info).into_owned()))
            }
            "meta" if find(data, meta::REGISTER).is_some() => match number(data, meta::KEY)? {
                meta::IN_DEVICE => Some(Self::LoadDevice(Device::In)),
                meta::OUT_DEVICE => Some(Self::LoadDevice(Device::Out)),
                _ => None,
            },
            "cmp" if number(data, compare::OPERATION)? == compare::EQUAL => {
                Some(Self::Begins(find(find(data, compare::DATA)?, expression::VALUE)?.to_vec()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::Family;

    /// The rule as the kernel would list it.
    fn listed(rule: &Rule) -> ListedRule {
        let table = TableName::new(Family::Ip, "filter");
        let attributes = rule.attributes(&table, "FORWARD").long(HANDLE, 7);
        ListedRule::read(attributes.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_understood_when_it_is_listed() {
        let device = Statement::Device { device: Device::Out, is: true, prefix: "naru" };
        let statements = vec![device, Statement::Count, Statement::Verdict(Verdict::Goto("end".to_owned()))];
        let rule = listed(&Rule { statements, comment: Some("why".to_owned()) });
        let expected = [
            Part::LoadDevice(Device::Out),
            Part::Begins(b"naru".to_vec()),
            Part::Counter,
            Part::Verdict(Verdict::Goto("end".to_owned())),
        ];
        assert_eq!(rule.parts, expected);
        assert_eq!((rule.chain.as_str(), rule.handle, rule.comment.as_deref()), ("FORWARD", 7, Some("why")));
    }

    #[test]
    fn a_comment_of_iptables_is_read_from_its_extension() {
        let rule = listed(&Rule::new([Statement::Comment("naru"), Statement::Verdict(Verdict::Accept)]));
        assert_eq!(rule.parts, [Part::Comment("naru".to_owned()), Part::Verdict(Verdict::Accept)]);
        assert_eq!(rule.comment, None);
    }

    #[test]
    fn an_expression_that_is_not_known_keeps_its_name() {
        for statement in [Statement::NoTrack, Statement::LocalDestination, Statement::InvalidOrUntracked] {
            let rule = listed(&Rule::new([statement]));
            assert!(matches!(&rule.parts[0], Part::Other(name) if !name.is_empty()), "{rule:?}");
        }
        let unless = Statement::Device { device: Device::In, is: false, prefix: "naru" };
        assert_eq!(listed(&Rule::new([unless])).parts[1], Part::Other("cmp".to_owned()));
    }

    #[test]
    fn a_rule_reads_as_nft_writes_it() {
        let rule = Rule::new([
            Statement::UdpDestination(8472),
            Statement::TransportBytes { offset: 12, value: 5230 },
            Statement::SetUdpDestination { port: 18472, checksum: false },
        ]);
        assert_eq!(rule.to_string(), "udp dport 8472 @th,96,24 5230 @th,16,16 set 18472");
    }
}
