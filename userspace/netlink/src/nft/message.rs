//! Messages of the subsystem nf_tables (`linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`).

use std::fmt;

use super::{Attributes, NftError};

/// `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version and a resource number.
const GENERIC: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NLMSG_ERROR`, which is an acknowledgement when its number is 0.
pub(super) const ERROR: u16 = 2;
/// `NLMSG_DONE`, the end of a dump.
pub(super) const DONE: u16 = 3;

/// `NFT_MSG_*`, the lower byte of a message's type.
pub(super) mod kind {
    pub const NEW_TABLE: u8 = 0;
    pub const GET_TABLE: u8 = 1;
    pub const DELETE_TABLE: u8 = 2;
    pub const NEW_CHAIN: u8 = 3;
    pub const GET_CHAIN: u8 = 4;
    pub const DELETE_CHAIN: u8 = 5;
    pub const NEW_RULE: u8 = 6;
    pub const GET_RULE: u8 = 7;
    pub const DELETE_RULE: u8 = 8;
    pub const NEW_SET: u8 = 9;
    pub const GET_SET: u8 = 10;
    pub const NEW_ELEMENTS: u8 = 12;
    pub const GET_ELEMENTS: u8 = 13;
    pub const NEW_GENERATION: u8 = 15;
    pub const GET_GENERATION: u8 = 16;
    pub const NEW_OBJECT: u8 = 18;
    pub const GET_OBJECT: u8 = 19;
    pub const GET_FLOWTABLE: u8 = 23;
}

/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, ...: the first attribute of every kind.
pub(super) const TABLE_NAME: u16 = 1;

/// The address family of a table whose chains see routed packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inet, Self::Ip, Self::Ip6];

    /// `NFPROTO_*`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
        }
    }

    /// The family of that number; `None` for those whose chains see no routed packets.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.number() == number)
    }

    /// The family as nft names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A table by family and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TableName {
    /// The family.
    pub family: Family,
    /// The name, unique within its family.
    pub name: String,
}

impl TableName {
    /// The table of that name.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into() }
    }

    /// Attributes that begin with the table's name.
    pub(super) fn attributes(&self) -> Attributes {
        Attributes::new().text(TABLE_NAME, &self.name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// A question, or one change of a batch, with the words that name it in an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NftRequest {
    /// `NFT_MSG_*`.
    pub kind: u8,
    /// `NLM_F_*` beyond `NLM_F_REQUEST`.
    pub flags: u16,
    /// The family; `None` asks for all.
    pub family: Option<Family>,
    /// The object.
    pub attributes: Attributes,
    /// The object and what is tried.
    pub what: String,
}

impl NftRequest {
    /// The message as bytes.
    pub fn encode(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let family = self.family.map_or(0, Family::number);
        let kind = u16::from_be_bytes([SUBSYSTEM, self.kind]);
        encode(kind, self.flags | flags, sequence, [family, 0, 0, 0], &self.attributes)
    }
}

/// A message of this type.
pub(super) fn encode(
    kind: u16,
    flags: u16,
    sequence: u32,
    generic: [u8; GENERIC],
    body: &Attributes,
) -> Vec<u8> {
    let length = HEADER + GENERIC + body.as_bytes().len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(generic);
    bytes.extend(body.as_bytes());
    bytes
}

/// One message from the kernel, whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Number of the request that it answers; 0 for a notification.
    pub sequence: u32,
    /// Everything after the header.
    pub body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The kind of object, where the message is one of nf_tables.
    pub fn object(&self) -> Option<u8> {
        let [subsystem, kind] = self.kind.to_be_bytes();
        (subsystem == SUBSYSTEM).then_some(kind)
    }

    /// The number of the family.
    pub fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }

    /// The attributes of the object.
    pub fn attributes(&self) -> &'a [u8] {
        self.body.get(GENERIC..).unwrap_or_default()
    }
}

/// The messages of one datagram.
///
/// # Errors
/// A message is cut: what is missing must not look like the end of a list.
pub(super) fn replies<'a>(mut datagram: &'a [u8], what: &str) -> Result<Vec<Reply<'a>>, NftError> {
    let mut list = Vec::new();
    while !datagram.is_empty() {
        let reply = first(datagram).ok_or_else(|| NftError::unexpected(what, "a message is cut"))?;
        datagram = datagram.get((HEADER + reply.body.len()).next_multiple_of(4)..).unwrap_or_default();
        list.push(reply);
    }
    Ok(list)
}

fn first(datagram: &[u8]) -> Option<Reply<'_>> {
    let long = |at: usize| datagram.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let short = |at: usize| datagram.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    let body = datagram.get(HEADER..long(0)? as usize)?;
    Some(Reply { kind: short(4)?, flags: short(6)?, sequence: long(8)?, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_back_as_it_was_written() {
        let attributes = TableName::new(Family::Inet, "naru").attributes();
        let request = NftRequest {
            kind: kind::NEW_TABLE,
            flags: 4,
            family: Some(Family::Inet),
            attributes,
            what: String::new(),
        };
        let datagram = [request.encode(1, 7), request.encode(1, 8)].concat();
        let list = replies(&datagram, "x").unwrap();
        assert_eq!(list.iter().map(|reply| reply.sequence).collect::<Vec<_>>(), [7, 8]);
        assert_eq!((list[0].object(), list[0].family(), list[0].flags), (Some(kind::NEW_TABLE), 1, 5));
        assert_eq!(list[1].attributes(), request.attributes.as_bytes());
    }

    #[test]
    fn a_datagram_that_is_cut_anywhere_is_an_error() {
        let whole = encode(ERROR, 0, 1, [0; 4], &Attributes::new().number(1, 2));
        for length in 1..whole.len() {
            let error = replies(&whole[..length], "table inet naru").unwrap_err();
            assert!(error.to_string().starts_with("table inet naru: unexpected answer: a message is cut"));
        }
        assert!(replies(&[0; 32], "x").is_err(), "a length of nothing is no message");
    }
}
