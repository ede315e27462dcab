use std::{collections::BTreeMap, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};

use super::{
    LinkError, Links, family_of, host_len,
    link::Link,
    route::{MAIN, parsed},
    socket::Request,
};

/// How this node reaches an address of the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnderlayPath {
    /// The outgoing interface.
    pub index: u32,
    /// Its name.
    pub device: String,
    /// MTU of the path in bytes: the smaller of the route's, where it has one, and the device's.
    pub mtu: u32,
    /// The router on the way; `None` where the address is on the interface's link.
    pub gateway: Option<IpAddr>,
    /// Whether the interface is an Ethernet one.
    pub is_ethernet: bool,
    /// The source address the kernel would take.
    pub source: Option<IpAddr>,
}

/// A default route of the main table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultRoute {
    /// The outgoing interface.
    pub index: u32,
    /// Whether it is an IPv6 route.
    pub v6: bool,
    /// Whether it came from a router advertisement, so that forwarding would end it.
    pub from_router_advertisement: bool,
}

impl Links {
    /// How the kernel would reach `ip` now.
    ///
    /// # Errors
    /// There is no route ([`LinkError::errno`] is `ENETUNREACH` or `EHOSTUNREACH`), or the kernel refuses.
    pub fn path_to(&self, ip: IpAddr) -> Result<UnderlayPath, LinkError> {
        self.path(ip, &mut BTreeMap::new())
    }

    /// How the kernel would reach each of the addresses now; those it would not reach are left out.
    #[must_use]
    pub fn paths_to(&self, ends: impl Iterator<Item = IpAddr>) -> BTreeMap<IpAddr, UnderlayPath> {
        let mut known = BTreeMap::new();
        ends.filter_map(|end| Some((end, self.path(end, &mut known).ok()?))).collect()
    }

    /// [`Links::path_to`], which looks at each interface once.
    fn path(&self, ip: IpAddr, known: &mut BTreeMap<u32, Link>) -> Result<UnderlayPath, LinkError> {
        let what = || format!("route to {ip}: look");
        let answer = self.ask(question(ip))?;
        let route = answer.as_ref().and_then(|answer| parsed(answer, family_of(ip)));
        let unexpected = || LinkError::Answer { what: what(), detail: "no device".to_owned() };
        let route = route.ok_or_else(unexpected)?;
        let index = route.devices.first().copied().ok_or_else(unexpected)?;
        let link = match known.get(&index) {
            Some(link) => link.clone(),
            None => self.link_at(index)?.ok_or_else(|| LinkError::kernel(what(), libc::ENODEV))?,
        };
        known.insert(index, link.clone());
        let mtu = if answer.as_ref().is_some_and(is_learnt) { None } else { route.mtu };
        let mtu = mtu.filter(|mtu| *mtu > 0).map_or(link.mtu, |mtu| mtu.min(link.mtu));
        let is_ethernet = link.mac.is_some_and(|mac| mac.0 != [0; 6]);
        let (device, gateway, source) = (link.name, route.gateway, route.source);
        Ok(UnderlayPath { index, device, mtu, gateway, is_ethernet, source })
    }

    /// The default routes of both families that have a device.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn default_routes(&self) -> Result<Vec<DefaultRoute>, LinkError> {
        let routes = self.kernel_routes(RouteProtocol::Unspec)?;
        let defaults = routes.iter().filter(|route| {
            route.table == MAIN && route.kind == RouteType::Unicast && route.destination.prefix_len() == 0
        });
        let each = defaults.flat_map(|route| {
            let v6 = route.destination.addr().is_ipv6();
            let from_router_advertisement = v6 && route.protocol == RouteProtocol::Ra;
            route.devices.iter().map(move |&index| DefaultRoute { index, v6, from_router_advertisement })
        });
        Ok(each.collect())
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
