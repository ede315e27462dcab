//! Parser for the kernel's lists of routes, written by hand: an attribute that is not understood must not count as
//! absent, and nothing is kept of a list of hundreds of thousands.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    LinkError,
    next_hop::{Hop, NextHop, address},
    reply::Reply,
    route::{Route, RouteTarget},
};
use crate::message::{Cut, attributes_whole, u16_at, u32_at};

/// `RTM_NEWROUTE`.
const NEW: u16 = 24;
/// Length of `struct rtmsg`.
const HEADER: usize = 12;
/// Length of `struct rtnexthop`, and its flag of a hop whose interface is down.
const HOP: usize = 8;
const DEAD: u8 = 1;
/// `RTAX_MTU`.
const METRIC_MTU: u16 = 2;
/// Offset of `rta_expires` in `struct rta_cacheinfo`.
const EXPIRES: usize = 8;

/// `RTA_*` of `linux/rtnetlink.h`.
mod rta {
    pub const DST: u16 = 1;
    pub const OIF: u16 = 4;
    pub const GATEWAY: u16 = 5;
    pub const PRIORITY: u16 = 6;
    pub const PREFSRC: u16 = 7;
    pub const METRICS: u16 = 8;
    pub const MULTIPATH: u16 = 9;
    pub const CACHEINFO: u16 = 12;
    pub const TABLE: u16 = 15;
    pub const VIA: u16 = 18;
    pub const NH_ID: u16 = 30;
    /// Attributes that do not affect where packets go: source and incoming interface of the question, realm, mark,
    /// preference, expiry, padding, user, TTL propagation, and protocol and ports of the question.
    pub const NEITHER_HOP: [u16; 12] = [2, 3, 11, 16, 20, 23, 24, 25, 26, 27, 28, 29];
}

/// A route, with everything that any of our look-ups needs.
pub(super) struct ListedRoute {
    /// Destination.
    pub destination: IpNet,
    /// Table.
    pub table: u32,
    /// The protocol number of the program that added it, `RTPROT_*`.
    pub protocol: u8,
    /// The fate of packets, `RTN_*`.
    pub kind: u8,
    /// Its hops, several for a multipath route; those whose interface is down are left out.
    pub hops: Vec<Hop>,
    /// The nexthop object it names.
    pub object: Option<u32>,
    /// Preferred source.
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// True if it has an expiry: its MTU was learnt from ICMP and will pass.
    pub is_learnt: bool,
    /// Metric, 0 where the kernel tells none.
    pub metric: u32,
}

/// The known parts of a next hop.
#[derive(Default)]
struct Told {
    router: Option<IpAddr>,
    is_opaque: bool,
}

impl Told {
    /// Takes the attribute if it belongs to a next hop, or may do so.
    fn take(&mut self, kind: u16, content: &[u8]) -> Result<(), Cut> {
        match kind {
            rta::GATEWAY => self.router = Some(address(content).ok_or(Cut)?),
            // A family, then the address.
            rta::VIA => match content.get(2..).and_then(address) {
                Some(router) => self.router = Some(router),
                None => self.is_opaque = true,
            },
            // Encapsulation, a label to exchange, and attributes of later kernels.
            kind if !rta::NEITHER_HOP.contains(&kind) => self.is_opaque = true,
            _ => {}
        }
        Ok(())
    }

    const fn next(&self) -> NextHop {
        match self.router {
            _ if self.is_opaque => NextHop::Unknown,
            Some(router) => NextHop::Router(router),
            None => NextHop::OnLink,
        }
    }
}

impl ListedRoute {
    /// The route of a message; `None` where it is of another kind.
    pub(super) fn of(reply: &Reply, what: &str) -> Result<Option<Self>, LinkError> {
        if reply.kind != NEW {
            return Ok(None);
        }
        parsed(reply.body()).map_err(|Cut| LinkError::cut(what))
    }

    /// Outgoing interfaces.
    pub(super) fn devices(&self) -> impl Iterator<Item = u32> {
        self.hops.iter().map(|hop| hop.index)
    }

    /// The router of the first hop.
    pub(super) fn gateway(&self) -> Option<IpAddr> {
        self.hops.first().and_then(|hop| hop.next.router())
    }

    /// Returns it as a route of ours; `None` if it has a form that we never make.
    pub(super) fn as_route(&self) -> Option<Route> {
        let target = match (self.kind, self.hops.as_slice()) {
            (libc::RTN_UNREACHABLE, _) => RouteTarget::Unreachable,
            (libc::RTN_UNICAST, &[Hop { index, next: NextHop::Router(via) }]) => {
                RouteTarget::Gateway { index, via }
            }
            (libc::RTN_UNICAST, &[Hop { index, next: NextHop::OnLink }]) => RouteTarget::Device { index },
            _ => return None,
        };
        let Self { destination, table, source, mtu, metric, .. } = *self;
        Some(Route { destination, table, target, source, mtu, metric })
    }
}

/// Reads the bytes behind the header of the message; `None` for a family other than IPv4 and IPv6.
fn parsed(body: &[u8]) -> Result<Option<ListedRoute>, Cut> {
    let &[family, length, _, _, table, protocol, _, kind, ..] = body else { return Err(Cut) };
    let nowhere = match i32::from(family) {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        _ => return Ok(None),
    };
    let destination = IpNet::new(nowhere, length).map_err(|_| Cut)?;
    let mut route = ListedRoute {
        destination,
        table: table.into(),
        protocol,
        kind,
        hops: Vec::new(),
        object: None,
        source: None,
        mtu: None,
        is_learnt: false,
        metric: 0,
    };
    let (mut index, mut told) = (None, Told::default());
    for attribute in attributes_whole(body.get(HEADER..).ok_or(Cut)?) {
        let (kind, content) = attribute?;
        match kind {
            rta::OIF => index = Some(u32_at(content, 0).ok_or(Cut)?),
            _ => note(&mut route, &mut told, kind, content)?,
        }
    }
    route.hops.extend(index.map(|index| Hop { index, next: told.next() }));
    Ok(Some(route))
}

fn note(route: &mut ListedRoute, told: &mut Told, kind: u16, content: &[u8]) -> Result<(), Cut> {
    let number = || u32_at(content, 0).ok_or(Cut);
    match kind {
        rta::DST => {
            let network = address(content).ok_or(Cut)?;
            route.destination = IpNet::new(network, route.destination.prefix_len()).map_err(|_| Cut)?;
        }
        rta::TABLE => route.table = number()?,
        rta::PRIORITY => route.metric = number()?,
        rta::NH_ID => route.object = Some(number()?),
        rta::PREFSRC => route.source = Some(address(content).ok_or(Cut)?),
        rta::METRICS => route.mtu = mtu(content)?,
        rta::CACHEINFO => route.is_learnt = u32_at(content, EXPIRES).ok_or(Cut)? != 0,
        rta::MULTIPATH => route.hops = hops(content)?,
        _ => told.take(kind, content)?,
    }
    Ok(())
}

fn mtu(metrics: &[u8]) -> Result<Option<u32>, Cut> {
    let mut mtu = None;
    for metric in attributes_whole(metrics) {
        if let (METRIC_MTU, content) = metric? {
            mtu = Some(u32_at(content, 0).ok_or(Cut)?);
        }
    }
    Ok(mtu)
}

/// The living hops of `RTA_MULTIPATH`, each with attributes of its own.
fn hops(mut bytes: &[u8]) -> Result<Vec<Hop>, Cut> {
    let mut hops = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16_at(bytes, 0).ok_or(Cut)?);
        let hop = bytes.get(..length).filter(|hop| hop.len() >= HOP).ok_or(Cut)?;
        let (flags, index) = (hop[2], u32_at(hop, 4).ok_or(Cut)?);
        let mut told = Told::default();
        for attribute in attributes_whole(&hop[HOP..]) {
            let (kind, content) = attribute?;
            told.take(kind, content)?;
        }
        if flags & DEAD == 0 {
            hops.push(Hop { index, next: told.next() });
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(hops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::attribute;

    /// A route to 10.1.0.0/16 by interface 3 with these attributes.
    fn route(attributes: &[Vec<u8>]) -> Vec<u8> {
        let header = vec![2, 16, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
        let own = [attribute(rta::DST, &[10, 1, 0, 0]), attribute(rta::OIF, &3u32.to_ne_bytes())].concat();
        [header, own, attributes.concat()].concat()
    }

    fn next(attributes: &[Vec<u8>]) -> NextHop {
        parsed(&route(attributes)).unwrap().unwrap().hops[0].next
    }

    #[test]
    fn a_next_hop_that_is_not_understood_is_never_on_link() {
        let v6 = [&[10, 0][..], &[0xfe, 0x80], &[0; 13], &[1]].concat();
        assert_eq!(next(&[]), NextHop::OnLink);
        assert_eq!(next(&[attribute(rta::GATEWAY, &[10, 0, 0, 1])]), NextHop::Router([10, 0, 0, 1].into()));
        assert_eq!(next(&[attribute(rta::VIA, &v6)]), NextHop::Router("fe80::1".parse().unwrap()));
        for unknown in [attribute(rta::VIA, &[28, 0, 1, 2, 3]), attribute(22, &[0; 4]), attribute(77, &[])] {
            assert_eq!(next(&[unknown]), NextHop::Unknown);
        }
        for harmless in rta::NEITHER_HOP {
            assert_eq!(next(&[attribute(harmless, &[0; 4])]), NextHop::OnLink, "{harmless}");
        }
    }

    #[test]
    fn every_hop_of_a_multipath_route_has_a_next_hop_of_its_own() {
        let hop = |index: u32, flags: u8, attributes: Vec<u8>| {
            let length = u16::try_from(HOP + attributes.len()).unwrap().to_ne_bytes();
            [&length[..], &[flags, 0], &index.to_ne_bytes(), &attributes].concat()
        };
        let hops = [
            hop(4, 0, Vec::new()),
            hop(5, 0, attribute(rta::GATEWAY, &[10, 0, 0, 1])),
            hop(6, DEAD, Vec::new()),
            hop(7, 0, attribute(22, &[1; 8])),
        ];
        let found = super::hops(&hops.concat()).unwrap();
        let router = NextHop::Router([10, 0, 0, 1].into());
        let expected = [(4, NextHop::OnLink), (5, router), (7, NextHop::Unknown)];
        assert_eq!(found, expected.map(|(index, next)| Hop { index, next }));
    }

    #[test]
    fn a_route_that_is_cut_anywhere_inside_an_attribute_is_no_route() {
        let whole = route(&[
            attribute(rta::PRIORITY, &7u32.to_ne_bytes()),
            attribute(rta::METRICS, &attribute(METRIC_MTU, &[0; 4])),
        ]);
        let ends = [HEADER, HEADER + 8, HEADER + 16, HEADER + 24, whole.len()];
        for length in 0..=whole.len() {
            assert_eq!(parsed(&whole[..length]).is_ok(), ends.contains(&length), "cut at {length}");
        }
    }
}
