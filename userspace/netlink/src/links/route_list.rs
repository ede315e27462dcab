use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::route::{RouteProtocol, RouteType};

use super::{
    LinkError, Links,
    route::{KernelRoute, MAIN},
};

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

/// All routes of all tables and both families, whoever made them, as they were at one time.
pub struct RouteList {
    routes: Vec<KernelRoute>,
    own: RouteProtocol,
}

impl Links {
    /// Lists the routes.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn route_list(&self) -> Result<RouteList, LinkError> {
        let own = self.protocol();
        self.kernel_routes(RouteProtocol::Unspec).map(|routes| RouteList { routes, own })
    }
}

impl RouteList {
    /// The default routes that have a device, one for each.
    #[must_use]
    pub fn defaults(&self) -> Vec<DefaultRoute> {
        let defaults = self.routes.iter().filter(|route| {
            route.table == MAIN && route.kind == RouteType::Unicast && route.destination.prefix_len() == 0
        });
        let each = defaults.flat_map(|route| {
            let v6 = route.destination.addr().is_ipv6();
            let from_router_advertisement = v6 && route.protocol == RouteProtocol::Ra;
            route.devices.iter().map(move |&index| DefaultRoute { index, v6, from_router_advertisement })
        });
        each.collect()
    }

    /// Destinations of the main table's routes that are not ours, default and link-local ones left out: what a pod range
    /// must not overlap.
    #[must_use]
    pub fn foreign(&self) -> Vec<IpNet> {
        let foreign = |route: &&KernelRoute| {
            let ours = route.protocol == self.own;
            let special = matches!(route.kind, RouteType::Local | RouteType::Broadcast | RouteType::Anycast);
            let special = special || route.kind == RouteType::Multicast || is_link_local(route.destination);
            route.table == MAIN && !ours && !special && route.destination.prefix_len() > 0
        };
        let mut list: Vec<IpNet> =
            self.routes.iter().filter(foreign).map(|route| route.destination).collect();
        list.sort_unstable();
        list.dedup();
        list
    }

    /// Whether packets of one route may leave by several interfaces.
    pub(super) fn has_multipath(&self) -> bool {
        self.routes.iter().any(|route| route.devices.len() > 1)
    }
}

/// Whether the prefix lies in `169.254.0.0/16`, `fe80::/10` or is multicast.
fn is_link_local(prefix: IpNet) -> bool {
    match prefix.addr() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
    }
}
