//! The kernel's message about a flow, read in place.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Tuple,
    attributes::{
        DESTINATION_PORT, PROTOCOL_NUMBER, PROTOINFO, SOURCE_PORT, TUPLE_IP, TUPLE_ORIGINAL, TUPLE_PROTOCOL,
        TUPLE_REPLY,
    },
};
use crate::message::{attributes, find};

/// `struct nfgenmsg`.
const HEADER: usize = 4;
const PROTOINFO_TCP: u16 = 1;
const TCP_STATE: u16 = 1;
/// `TCP_CONNTRACK_TIME_WAIT` and `_CLOSE`.
const TCP_CLOSED: [u8; 2] = [7, 8];
/// `CTA_STATS_GLOBAL_ENTRIES`.
const ENTRIES: u16 = 1;

/// The body of a message about a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    body: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A body as it came.
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { body }
    }

    /// `AF_INET` or `AF_INET6`.
    pub(super) fn family(&self) -> i32 {
        self.body.first().copied().unwrap_or_default().into()
    }

    /// The content of its first attribute of that type.
    pub(super) fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        find(self.body.get(HEADER..)?, kind)
    }

    /// Sources and destinations of the flow's packets and of their answers.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let sides = [TUPLE_ORIGINAL, TUPLE_REPLY].into_iter();
        let tuples = sides.filter_map(|side| find(self.attribute(side)?, TUPLE_IP));
        tuples.flat_map(attributes).filter_map(|(_, content)| address(content))
    }

    /// Source and destination of the answers.
    pub(super) fn answering(&self) -> Option<[IpAddr; 2]> {
        let tuple = find(self.attribute(TUPLE_REPLY)?, TUPLE_IP)?;
        let mut ends = attributes(tuple).filter_map(|(_, content)| address(content));
        Some([ends.next()?, ends.next()?])
    }

    /// The packets with which a flow with ports began.
    pub(super) fn begun(&self) -> Option<Tuple> {
        let tuple = self.attribute(TUPLE_ORIGINAL)?;
        let protocol = find(tuple, TUPLE_PROTOCOL)?;
        let mut ends = attributes(find(tuple, TUPLE_IP)?).filter_map(|(_, content)| address(content));
        let port = |kind| find(protocol, kind)?.try_into().ok().map(u16::from_be_bytes);
        Some(Tuple {
            source: ends.next()?,
            destination: ends.next()?,
            protocol: *find(protocol, PROTOCOL_NUMBER)?.first()?,
            source_port: port(SOURCE_PORT)?,
            destination_port: port(DESTINATION_PORT)?,
        })
    }

    /// Returns true if both ends of a TCP connection have closed it, or one has reset it.
    pub(super) fn is_closed(&self) -> bool {
        let tcp = self.attribute(PROTOINFO).and_then(|info| find(info, PROTOINFO_TCP));
        let state = tcp.and_then(|tcp| find(tcp, TCP_STATE)).and_then(|state| state.first());
        state.is_some_and(|state| TCP_CLOSED.contains(state))
    }

    /// The number in an answer to a question for statistics.
    pub(super) fn count(&self) -> u32 {
        let number = self.attribute(ENTRIES).and_then(|content| content.try_into().ok());
        number.map_or(0, u32::from_be_bytes)
    }
}

fn address(content: &[u8]) -> Option<IpAddr> {
    match content.len() {
        4 => <[u8; 4]>::try_from(content).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(content).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}
