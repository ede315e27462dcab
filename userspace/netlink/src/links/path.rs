use std::{collections::BTreeMap, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteFlags, RouteMessage},
};

use super::{LinkError, Links, RouteList, family_of, host_len, link::Link, route::parsed, socket::Request};

/// How this node reaches an address of the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnderlayPath {
    /// The outgoing interface.
    pub index: u32,
    /// Its name.
    pub device: String,
    /// MTU of the path in bytes: the smallest of the route's, where it has one, and of the devices'.
    pub mtu: u32,
    /// The router on the way; `None` where the address is on the interface's link.
    pub gateway: Option<IpAddr>,
    /// All interfaces that packets may leave by, with their names: several for a multipath route.
    pub hops: BTreeMap<u32, String>,
    /// Whether these are Ethernet ones.
    pub is_ethernet: bool,
    /// The source address the kernel would take.
    pub source: Option<IpAddr>,
}

impl Links {
    /// How the kernel would reach `ip` now.
    ///
    /// # Errors
    /// There is no route ([`LinkError::errno`] is `ENETUNREACH` or `EHOSTUNREACH`), or the kernel refuses.
    pub fn path_to(&self, ip: IpAddr) -> Result<UnderlayPath, LinkError> {
        self.path(ip, true, &mut BTreeMap::new())
    }

    /// How the kernel would reach each of the addresses now by `routes`; those it would not reach are left out.
    #[must_use]
    pub fn paths_to(
        &self,
        ends: impl Iterator<Item = IpAddr>,
        routes: &RouteList,
    ) -> BTreeMap<IpAddr, UnderlayPath> {
        let (has_multipath, mut known) = (routes.has_multipath(), BTreeMap::new());
        ends.filter_map(|end| Some((end, self.path(end, has_multipath, &mut known).ok()?))).collect()
    }

    /// [`Links::path_to`], which looks at each interface once, and for several hops only if there may be.
    fn path(
        &self,
        ip: IpAddr,
        has_multipath: bool,
        known: &mut BTreeMap<u32, Link>,
    ) -> Result<UnderlayPath, LinkError> {
        let what = || format!("route to {ip}: look");
        let answer = self.ask(question(ip))?;
        let route = answer.as_ref().and_then(|answer| parsed(answer, family_of(ip)));
        let unexpected = || LinkError::Answer { what: what(), detail: "no device".to_owned() };
        let route = route.ok_or_else(unexpected)?;
        let index = route.devices.first().copied().ok_or_else(unexpected)?;
        let mut hops =
            vec![self.known(index, known)?.ok_or_else(|| LinkError::kernel(what(), libc::ENODEV))?];
        if has_multipath {
            for hop in self.hops(ip).into_iter().filter(|hop| *hop != index) {
                hops.extend(self.known(hop, known)?);
            }
        }
        let device = hops.iter().map(|link| link.mtu).min().unwrap_or_default();
        let mtu = if answer.as_ref().is_some_and(is_learnt) { None } else { route.mtu };
        Ok(UnderlayPath {
            index,
            device: hops.first().map(|link| link.name.clone()).unwrap_or_default(),
            mtu: mtu.filter(|mtu| *mtu > 0).map_or(device, |mtu| mtu.min(device)),
            gateway: route.gateway,
            is_ethernet: hops.iter().all(|link| link.mac.is_some_and(|mac| mac.0 != [0; 6])),
            hops: hops.into_iter().map(|link| (link.index, link.name)).collect(),
            source: route.source,
        })
    }

    /// The interfaces of the route that matches, of which the kernel's answer to [`question`] names the one that it would
    /// take for a packet like that. None where the kernel does not tell.
    fn hops(&self, ip: IpAddr) -> Vec<u32> {
        let mut question = question(ip);
        if let RouteNetlinkMessage::GetRoute(message) = &mut question.message {
            message.header.flags |= RouteFlags::FibMatch;
        }
        let answer = self.ask(question).ok().flatten();
        answer
            .and_then(|answer| parsed(&answer, family_of(ip)))
            .map(|route| route.devices)
            .unwrap_or_default()
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

/// The question which way the kernel would send a packet to `ip`.
fn question(ip: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(ip);
    message.header.destination_prefix_length = host_len(ip);
    message.attributes = vec![RouteAttribute::Destination(ip.into())];
    Request::new(RouteNetlinkMessage::GetRoute(message), format!("route to {ip}: look"))
}

/// Whether the answer has an expiry: its MTU was learnt from ICMP and will pass.
fn is_learnt(answer: &RouteNetlinkMessage) -> bool {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return false };
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::CacheInfo(info) if info.expires != 0))
}
