//! Requests (`linux/netfilter/nfnetlink_conntrack.h`).

use std::net::IpAddr;

use super::{
    Tuple,
    attributes::{
        DESTINATION_PORT, ID, PROTOCOL_NUMBER, SOURCE_PORT, TUPLE_IP, TUPLE_ORIGINAL, TUPLE_PROTOCOL,
        TUPLE_REPLY, ZONE,
    },
    entry::Entry,
};
use crate::message::{NESTED, attribute};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const GET_STATISTICS: u16 = SUBSYSTEM | 5;

const FILTER: u16 = 25;
const FILTER_ORIGINAL_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// `CTA_FILTER_F_CTA_IP_SRC`.
const BY_SOURCE: u32 = 1;

const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
/// Type, code and identifier.
const ICMP: [u16; 3] = [5, 6, 4];
const ICMPV6: [u16; 3] = [8, 9, 7];
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// A request without its netlink header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `struct nfgenmsg` and attributes.
    pub body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, family: i32) -> Self {
        // Family, version 0, no resource.
        Self { kind, body: vec![family as u8, 0, 0, 0] }
    }

    fn with(mut self, kind: u16, content: &[u8]) -> Self {
        self.body.extend(attribute(kind, content));
        self
    }
}

/// The direction of a flow's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Those of who began it.
    Original,
    /// Their answers.
    Reply,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Original, Self::Reply];
}

/// The flows to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    family: i32,
    source: Option<(IpAddr, Side)>,
}

impl Filter {
    /// Selects flows whose packets on that side come from `address`. A kernel before 5.8 lists more.
    pub(super) fn source(address: IpAddr, side: Side) -> Self {
        Self { family: family(address), source: Some((address, side)) }
    }

    /// Every flow.
    pub(super) fn everything() -> Self {
        Self { family: libc::AF_UNSPEC, source: None }
    }

    /// Every IPv6 flow.
    pub(super) fn everything_v6() -> Self {
        Self { family: libc::AF_INET6, source: None }
    }
}

/// Asks for the flows that `filter` chooses.
pub(super) fn list(filter: &Filter) -> Message {
    filtered(GET, filter)
}

/// Forgets the flows that `filter` chooses.
pub(super) fn flush(filter: &Filter) -> Message {
    filtered(DELETE, filter)
}

fn filtered(kind: u16, filter: &Filter) -> Message {
    let message = Message::new(kind, filter.family);
    let Some((address, side)) = filter.source else { return message };
    let (tuple, flags) = match side {
        Side::Original => (TUPLE_ORIGINAL, FILTER_ORIGINAL_FLAGS),
        Side::Reply => (TUPLE_REPLY, FILTER_REPLY_FLAGS),
    };
    let source = ip(address, V4_SOURCE, V6_SOURCE);
    message
        .with(tuple | NESTED, &attribute(TUPLE_IP | NESTED, &source))
        .with(FILTER | NESTED, &attribute(flags, &BY_SOURCE.to_ne_bytes()))
}

/// Asks for the flow with such answers.
pub(super) fn look_up(answers: &Tuple) -> Message {
    answered(GET, answers)
}

/// Forgets the flow with such answers.
pub(super) fn delete_answered(answers: &Tuple) -> Message {
    answered(DELETE, answers)
}

fn answered(kind: u16, answers: &Tuple) -> Message {
    let (source, destination) = (answers.source, answers.destination);
    let addresses =
        [ip(source, V4_SOURCE, V6_SOURCE), ip(destination, V4_DESTINATION, V6_DESTINATION)].concat();
    let tuple =
        [attribute(TUPLE_IP | NESTED, &addresses), attribute(TUPLE_PROTOCOL | NESTED, &protocol(answers))];
    Message::new(kind, family(source)).with(TUPLE_REPLY | NESTED, &tuple.concat())
}

/// Deletes exactly this flow, not a later one with the same addresses and ports.
pub(super) fn delete(entry: &Entry<'_>) -> Message {
    let message = Message::new(DELETE, entry.family());
    [TUPLE_ORIGINAL | NESTED, ZONE, ID].into_iter().fold(message, |message, kind| {
        match entry.attribute(kind & !NESTED) {
            Some(content) => message.with(kind, content),
            None => message,
        }
    })
}

/// Asks how many flows there are.
pub(super) fn statistics() -> Message {
    Message::new(GET_STATISTICS, libc::AF_UNSPEC)
}

fn family(address: IpAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn ip(address: IpAddr, v4: u16, v6: u16) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => attribute(v4, &address.octets()),
        IpAddr::V6(address) => attribute(v6, &address.octets()),
    }
}

/// The attributes that distinguish the flows of two hosts, in the kernel's form for each protocol.
fn protocol(answers: &Tuple) -> Vec<u8> {
    let number = answers.protocol;
    let mut bytes = attribute(PROTOCOL_NUMBER, &[number]);
    let echo = |[kind, code, id]: [u16; 3], reply: u8| {
        let id = attribute(id, &answers.source_port.to_be_bytes());
        [attribute(kind, &[reply]), attribute(code, &[0]), id].concat()
    };
    bytes.extend(match i32::from(number) {
        libc::IPPROTO_ICMP => echo(ICMP, ECHO_REPLY),
        libc::IPPROTO_ICMPV6 => echo(ICMPV6, ECHO_REPLY_V6),
        // Protocols without ports ignore them; GRE takes them for its keys.
        _ => [
            attribute(SOURCE_PORT, &answers.source_port.to_be_bytes()),
            attribute(DESTINATION_PORT, &answers.destination_port.to_be_bytes()),
        ]
        .concat(),
    });
    bytes
}
