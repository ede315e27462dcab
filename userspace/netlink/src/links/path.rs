use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteFlags, RouteMessage},
};

use super::{
    LinkError, Links, family_of, host_len,
    link::Link,
    listed_route::ListedRoute,
    next_hop::{Hop, NextHop},
    socket::{LinkAnswer, LinkRequest},
};

/// An address of each family that stands for everything outside: a root name server's. The kernel is asked for the
/// route to it; nothing is sent there. This also finds halves of a default route and rules of others, and costs the
/// same with a full routing table.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
];

/// The path from this node to an address of the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnderlayPath {
    /// The outgoing interface.
    pub index: u32,
    /// Its name.
    pub device: String,
    /// MTU of the path in bytes: the smallest of the route's, where it has one, and of the devices'.
    pub mtu: u32,
    /// The next hop of the packets; on-link only if that holds for every next hop of the route.
    pub next: NextHop,
    /// All interfaces that packets may leave by, with their names: several for a multipath route.
    pub hops: BTreeMap<u32, String>,
    /// True if these are Ethernet ones.
    pub is_ethernet: bool,
    /// The source address the kernel would take.
    pub source: Option<IpAddr>,
}

impl Links {
    /// The path by which the kernel would reach `ip` now.
    ///
    /// # Errors
    /// There is no route ([`LinkError::errno`] is `ENETUNREACH` or `EHOSTUNREACH`), or the kernel refuses.
    pub fn path_to(&self, ip: IpAddr) -> Result<UnderlayPath, LinkError> {
        let mut answers = self.socket().exchange(questions(ip).into())?.into_iter();
        let (chosen, matching) = (answers.next().unwrap_or(Ok(None)), answers.next().unwrap_or(Ok(None)));
        self.path(ip, chosen, matching, &mut BTreeMap::new())
    }

    /// The paths by which the kernel would reach each of the addresses now; unreachable ones are left out.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn paths_to(
        &self,
        ends: impl Iterator<Item = IpAddr>,
    ) -> Result<BTreeMap<IpAddr, UnderlayPath>, LinkError> {
        let ends: Vec<IpAddr> = ends.collect();
        let asked = ends.iter().flat_map(|end| questions(*end)).collect();
        let mut answers = self.socket().exchange(asked)?.into_iter();
        let (mut known, mut paths) = (BTreeMap::new(), BTreeMap::new());
        for end in ends {
            let (Some(chosen), Some(matching)) = (answers.next(), answers.next()) else { break };
            paths.extend(self.path(end, chosen, matching, &mut known).ok().map(|path| (end, path)));
        }
        Ok(paths)
    }

    /// The paths by which the kernel would reach the outside, by IPv4 and by IPv6; a family without such a route has
    /// none.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn paths_outside(&self) -> Result<Vec<UnderlayPath>, LinkError> {
        let mut paths = self.paths_to(OUTSIDE.into_iter())?;
        Ok(OUTSIDE.iter().filter_map(|end| paths.remove(end)).collect())
    }

    /// Returns the path by the answers to [`questions`]; each interface is looked up once.
    fn path(
        &self,
        ip: IpAddr,
        chosen: LinkAnswer,
        matching: LinkAnswer,
        known: &mut BTreeMap<u32, Link>,
    ) -> Result<UnderlayPath, LinkError> {
        let what = format!("route to {ip}: look");
        let unexpected = || LinkError::Answer { what: what.clone(), detail: "no device".to_owned() };
        let route = listed(chosen, &what)?.ok_or_else(unexpected)?;
        let first = route.hops.first().copied().ok_or_else(unexpected)?;
        let mut hops = vec![first];
        hops.extend(self.hops(matching, &what).into_iter().filter(|hop| hop.index != first.index));
        let mut links = Vec::new();
        for hop in &hops {
            links.extend(self.known(hop.index, known)?);
        }
        let gone = || LinkError::kernel(&what, libc::ENODEV);
        let device = links.first().filter(|link| link.index == first.index).ok_or_else(gone)?.name.clone();
        let narrowest = links.iter().map(|link| link.mtu).min().unwrap_or_default();
        let mtu = route.mtu.filter(|mtu| *mtu > 0 && !route.is_learnt);
        Ok(UnderlayPath {
            index: first.index,
            device,
            mtu: mtu.map_or(narrowest, |mtu| mtu.min(narrowest)),
            next: next(&hops),
            is_ethernet: links.iter().all(Link::is_ethernet),
            hops: links.into_iter().map(|link| (link.index, link.name)).collect(),
            source: route.source,
        })
    }

    /// Returns the hops of the matching route, of which the kernel's other answer names the one that it would choose
    /// for such a packet. Returns none if the kernel does not tell them.
    fn hops(&self, matching: LinkAnswer, what: &str) -> Vec<Hop> {
        let Ok(Some(route)) = listed(matching, what) else { return Vec::new() };
        match route.object.filter(|_| route.hops.is_empty()) {
            Some(object) => self.hops_of_object(object).unwrap_or_default(),
            None => route.hops,
        }
    }

    fn known(&self, index: u32, known: &mut BTreeMap<u32, Link>) -> Result<Option<Link>, LinkError> {
        if let Some(link) = known.get(&index) {
            return Ok(Some(link.clone()));
        }
        let link = self.link_at(index)?;
        known.extend(link.iter().map(|link| (index, link.clone())));
        Ok(link)
    }
}

/// Returns the next hop of packets that may take any of these hops.
fn next(hops: &[Hop]) -> NextHop {
    let first = hops.first().map_or(NextHop::Unknown, |hop| hop.next);
    let is_alike = |hop: &Hop| hop.next == first || (hop.next.router().is_some() && first.router().is_some());
    if hops.iter().all(is_alike) { first } else { NextHop::Unknown }
}

/// The requests for the kernel's choice for a packet to `ip`, and for the route that it matches.
fn questions(ip: IpAddr) -> [LinkRequest; 2] {
    [RouteFlags::empty(), RouteFlags::FibMatch].map(|flags| {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(ip);
        message.header.destination_prefix_length = host_len(ip);
        message.header.flags = flags;
        message.attributes = vec![RouteAttribute::Destination(ip.into())];
        LinkRequest::new(RouteNetlinkMessage::GetRoute(message), format!("route to {ip}: look"))
    })
}

/// The route of an answer.
fn listed(answer: LinkAnswer, what: &str) -> Result<Option<ListedRoute>, LinkError> {
    answer?.map_or(Ok(None), |answer| ListedRoute::of(&answer, what))
}
