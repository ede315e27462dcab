use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags,
        RouteProtocol, RouteScope, RouteType,
    },
};

use super::{
    FAMILIES, LinkError, Links, family_of,
    socket::{Outcome, Request},
};

/// Metric of the unreachable routes of own blocks: any other route to the same prefix wins.
pub const UNREACHABLE_METRIC: u32 = 1 << 30;

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RouteTarget {
    /// Straight to the neighbour on an interface, link scope.
    Device {
        /// The interface.
        index: u32,
    },
    /// To a next hop on an interface, taken as reachable there (`onlink`).
    Gateway {
        /// The interface.
        index: u32,
        /// The next hop.
        via: IpAddr,
    },
    /// Nowhere: the sender is told.
    Unreachable,
}

/// A kernel route of the protocol of the caller's [`crate::Marks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    /// Destination.
    pub destination: IpNet,
    /// Table; 254 is the main one.
    pub table: u32,
    /// Where it leads.
    pub target: RouteTarget,
    /// Preferred source of the node's own packets.
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Metric, as the kernel lists it.
    pub metric: u32,
}

/// The main routing table (`RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;
/// What the header says of a table whose number does not fit it (`RT_TABLE_COMPAT`).
const COMPAT: u8 = 252;

impl Route {
    /// A route with the metric that ours have.
    #[must_use]
    pub fn new(
        destination: IpNet,
        table: u32,
        target: RouteTarget,
        source: Option<IpAddr>,
        mtu: Option<u32>,
    ) -> Self {
        let metric = own_metric(destination, target);
        Self { destination, table, target, source, mtu, metric }
    }

    /// The route to a local pod's address.
    #[must_use]
    pub fn to_pod(ip: IpAddr, index: u32, source: Option<IpAddr>, mtu: u32) -> Self {
        let target = RouteTarget::Device { index };
        Self::new(IpNet::from(ip), MAIN, target, source, Some(mtu))
    }

    /// Whether its metric is another than ours have.
    #[must_use]
    pub fn is_beside_ours(&self) -> bool {
        self.metric != own_metric(self.destination, self.target)
    }
}

impl Links {
    /// Every route of our protocol, in all tables and both families; of several to one destination those with
    /// our metric come first, and of these the one that the kernel takes.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn routes(&self) -> Result<Vec<Route>, LinkError> {
        let mut list = Vec::new();
        for answer in self.kernel_routes(self.protocol())? {
            if answer.protocol == self.protocol() {
                list.extend(answer.as_route());
            }
        }
        list.sort_by_key(|route: &Route| (route.destination, route.table, route.is_beside_ours()));
        Ok(list)
    }

    /// Adds the routes in one exchange, each in place of a route of ours to the same destination with the same metric.
    ///
    /// # Errors
    /// Such a route is there and not ours, or the kernel refuses one; the first refusal is returned, the others are in
    /// place.
    pub fn ensure_routes(&self, routes: &[Route]) -> Result<(), LinkError> {
        let outcomes =
            self.socket().exchange(routes.iter().map(|route| add(route, self.protocol())).collect())?;
        self.settle_routes(routes, outcomes)
    }

    /// What is left to do after [`add`]: where there was a route already, one of ours is replaced. The kernel would
    /// replace anybody's.
    pub(super) fn settle_routes(&self, routes: &[Route], outcomes: Vec<Outcome>) -> Result<(), LinkError> {
        let (mut present, mut refusals) = (Vec::new(), Vec::new());
        for (route, outcome) in routes.iter().zip(outcomes) {
            match outcome {
                Err(error) if error.is_present() => present.push(route),
                outcome => refusals.extend(outcome.err()),
            }
        }
        if !present.is_empty() {
            let known = self.kernel_routes(RouteProtocol::Unspec)?;
            let (foreign, ours): (Vec<_>, Vec<_>) = present.into_iter().partition(|route| {
                known.iter().any(|one| one.protocol != self.protocol() && one.is_where(route))
            });
            refusals.extend(foreign.into_iter().map(taken));
            let outcomes = self
                .socket()
                .exchange(ours.into_iter().map(|route| replace(route, self.protocol())).collect())?;
            refusals.extend(outcomes.into_iter().filter_map(Result::err));
        }
        refusals.into_iter().next().map_or(Ok(()), Err)
    }

    /// Removes the routes; those that are gone already are passed over.
    ///
    /// # Errors
    /// The kernel refuses one for another reason; the others are gone.
    pub fn delete_routes(&self, routes: &[Route]) -> Result<(), LinkError> {
        let outcomes =
            self.socket().exchange(routes.iter().map(|route| delete(route, self.protocol())).collect())?;
        let mut refusals = outcomes.into_iter().filter_map(Result::err).filter(|error| !error.is_absent());
        refusals.next().map_or(Ok(()), Err)
    }

    /// The routes of both families, of one protocol where the kernel filters them.
    pub(super) fn kernel_routes(&self, protocol: RouteProtocol) -> Result<Vec<KernelRoute>, LinkError> {
        let mut list = Vec::new();
        for family in FAMILIES {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            question.header.protocol = protocol;
            let answers = self.dump(&RouteNetlinkMessage::GetRoute(question), "routes: list")?;
            list.extend(answers.iter().filter_map(|answer| parsed(answer, family)));
        }
        Ok(list)
    }
}

fn own_metric(destination: IpNet, target: RouteTarget) -> u32 {
    metric(destination, matches!(target, RouteTarget::Unreachable).then_some(UNREACHABLE_METRIC))
}

/// The metric as the kernel lists it: it gives IPv6 routes that come without the one of `IP6_RT_PRIO_USER`.
pub fn metric(destination: IpNet, given: Option<u32>) -> u32 {
    given.filter(|metric| *metric > 0).unwrap_or(if destination.addr().is_ipv4() { 0 } else { 1024 })
}

/// The request that adds the route, unless there is one to the same destination with the same metric.
pub fn add(route: &Route, protocol: RouteProtocol) -> Request {
    new(route, protocol).with(NLM_F_CREATE | NLM_F_EXCL)
}

/// The request that puts the route in that one's place.
fn replace(route: &Route, protocol: RouteProtocol) -> Request {
    new(route, protocol).with(NLM_F_CREATE | NLM_F_REPLACE)
}

fn new(route: &Route, protocol: RouteProtocol) -> Request {
    let mut message = message(route, protocol);
    message.attributes.extend(route.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    Request::new(RouteNetlinkMessage::NewRoute(message), format!("route {}: add", route.destination))
}

fn taken(route: &Route) -> LinkError {
    let reason = "somebody else has a route to it, which stays".to_owned();
    LinkError::Foreign { device: format!("route {}", route.destination), reason }
}

/// The request that removes the route.
fn delete(route: &Route, protocol: RouteProtocol) -> Request {
    let what = format!("route {}: delete", route.destination);
    let mut message = message(route, protocol);
    // Without one the kernel takes the first.
    message.attributes.extend(route.is_beside_ours().then_some(RouteAttribute::Priority(route.metric)));
    Request::new(RouteNetlinkMessage::DelRoute(message), what)
}

/// The route as the kernel takes it, without preferred source and metrics.
fn message(route: &Route, protocol: RouteProtocol) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family_of(route.destination.addr());
    header.destination_prefix_length = route.destination.prefix_len();
    header.table = u8::try_from(route.table).unwrap_or(COMPAT);
    header.protocol = protocol;
    header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(route.destination.network().into()),
        RouteAttribute::Table(route.table),
    ];
    match route.target {
        RouteTarget::Device { index } => {
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(index));
        }
        RouteTarget::Gateway { index, via } => {
            message.header.flags = RouteFlags::Onlink;
            message.attributes.extend([RouteAttribute::Oif(index), RouteAttribute::Gateway(via.into())]);
        }
        RouteTarget::Unreachable => {
            message.header.kind = RouteType::Unreachable;
            message.attributes.push(RouteAttribute::Priority(UNREACHABLE_METRIC));
        }
    }
    message
}

/// A route as the kernel lists it, with what any of our questions needs.
pub(super) struct KernelRoute {
    /// Destination.
    pub destination: IpNet,
    /// Table.
    pub table: u32,
    /// Who added it.
    pub protocol: RouteProtocol,
    /// What becomes of packets.
    pub kind: RouteType,
    /// Outgoing interfaces, several for a multipath route; those that are down are left out.
    pub devices: Vec<u32>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Preferred source.
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Metric, 0 where the kernel tells none.
    pub metric: u32,
}

impl KernelRoute {
    /// Whether it is where the route would be.
    fn is_where(&self, route: &Route) -> bool {
        (self.table, self.destination, self.metric) == (route.table, route.destination, route.metric)
    }

    /// As one of the forms we make; `None` for any other.
    fn as_route(&self) -> Option<Route> {
        let target = match (&self.kind, self.gateway, self.devices.as_slice()) {
            (RouteType::Unreachable, _, _) => RouteTarget::Unreachable,
            (RouteType::Unicast, Some(via), &[index]) => RouteTarget::Gateway { index, via },
            (RouteType::Unicast, None, &[index]) => RouteTarget::Device { index },
            _ => return None,
        };
        let Self { destination, table, source, mtu, metric, .. } = *self;
        Some(Route { destination, table, target, source, mtu, metric })
    }
}

/// What the kernel says of one route of the family.
pub(super) fn parsed(message: &RouteNetlinkMessage, family: AddressFamily) -> Option<KernelRoute> {
    let RouteNetlinkMessage::NewRoute(RouteMessage { header, attributes, .. }) = message else {
        return None;
    };
    let nowhere = if family == AddressFamily::Inet { [0; 4].into() } else { IpAddr::from([0u8; 16]) };
    let mut destination = nowhere;
    let mut route = KernelRoute {
        destination: IpNet::new(nowhere, 0).ok()?,
        table: u32::from(header.table),
        protocol: header.protocol,
        kind: header.kind,
        devices: Vec::new(),
        gateway: None,
        source: None,
        mtu: None,
        metric: 0,
    };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Oif(index) => route.devices.push(*index),
            RouteAttribute::MultiPath(hops) => {
                let alive = hops.iter().filter(|hop| !hop.flags.contains(RouteNextHopFlags::Dead));
                route.devices.extend(alive.map(|hop| hop.interface_index));
            }
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Metrics(metrics) => route.mtu = mtu(metrics),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    route.destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    (header.address_family == family).then_some(route)
}

/// The address, if it is of a family of ours.
fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// The MTU among the metrics.
fn mtu(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None })
}
