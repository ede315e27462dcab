use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType},
};

use super::{
    FAMILIES, LinkError, Links, family_of,
    listed_route::ListedRoute,
    socket::{LinkAnswer, LinkRequest},
};

/// Metric of the unreachable routes of own blocks: any other route to the same prefix wins.
pub const UNREACHABLE_METRIC: u32 = 1 << 30;

/// Metric of the spare beneath a route that names a source ([`Route::spare`]).
pub const SPARE_METRIC: u32 = 1 << 29;

/// The target of a route.
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
        /// The next hop's address.
        via: IpAddr,
    },
    /// None: the sender gets an ICMP error.
    Unreachable,
}

/// A kernel route of the protocol of the caller's [`crate::Marks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    /// Destination.
    pub destination: IpNet,
    /// Table; 254 is the main one.
    pub table: u32,
    /// The next hop.
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
/// The table number in the header if the real one does not fit it (`RT_TABLE_COMPAT`).
pub const COMPAT: u8 = 252;

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

    /// Returns the spare route, which names no source: when an address goes, the kernel removes the routes that name it
    /// as source, but their destinations must stay reachable.
    #[must_use]
    pub const fn spare(self) -> Self {
        Self { source: None, metric: SPARE_METRIC, ..self }
    }

    /// Returns true if it is a spare.
    #[must_use]
    pub const fn is_spare(&self) -> bool {
        self.metric == SPARE_METRIC
    }

    /// The route to a local pod's address.
    #[must_use]
    pub fn to_pod(ip: IpAddr, index: u32, source: Option<IpAddr>, mtu: u32) -> Self {
        let target = RouteTarget::Device { index };
        Self::new(IpNet::from(ip), MAIN, target, source, Some(mtu))
    }

    /// Returns true if its metric is another than ours have.
    #[must_use]
    pub fn is_beside_ours(&self) -> bool {
        !self.is_spare() && self.metric != own_metric(self.destination, self.target)
    }
}

impl Links {
    /// Returns every route of our protocol, in all tables and both families. Of several to one destination those with
    /// our metric come first, the spare after the one above it, and of equal ones the one that the kernel uses.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn routes(&self) -> Result<Vec<Route>, LinkError> {
        let mut list = self.own_listed(ListedRoute::as_route)?;
        list.sort_by_key(|route: &Route| {
            (route.destination, route.table, route.is_beside_ours(), route.is_spare())
        });
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

    /// Finishes [`add`]: an existing route is replaced if it is ours. The kernel would replace anybody's: of several to
    /// one destination with one metric the first, which may be a foreign one in front of ours.
    pub(super) fn settle_routes(&self, routes: &[Route], outcomes: Vec<LinkAnswer>) -> Result<(), LinkError> {
        let (mut present, mut refusals) = (Vec::new(), Vec::new());
        for (route, outcome) in routes.iter().zip(outcomes) {
            match outcome {
                Err(error) if error.is_present() => present.push(route),
                outcome => refusals.extend(outcome.err()),
            }
        }
        if !present.is_empty() {
            let first = self.first_holders(&present)?;
            let own = self.marks().protocol;
            let is_ours = |route: &&Route| first.get(&place(route)) == Some(&own);
            let (ours, foreign): (Vec<_>, Vec<_>) = present.into_iter().partition(is_ours);
            refusals.extend(foreign.into_iter().map(taken));
            let outcomes = self
                .socket()
                .exchange(ours.into_iter().map(|route| replace(route, self.protocol())).collect())?;
            refusals.extend(outcomes.into_iter().filter_map(Result::err));
        }
        refusals.into_iter().next().map_or(Ok(()), Err)
    }

    /// Returns the protocols of the first route at the place of each of these. All routes of their tables are listed;
    /// the others are not kept.
    fn first_holders(&self, routes: &[&Route]) -> Result<BTreeMap<Place, u8>, LinkError> {
        let places: BTreeSet<Place> = routes.iter().map(|route| place(route)).collect();
        let tables: BTreeSet<u32> = routes.iter().map(|route| route.table).collect();
        let mut first = BTreeMap::new();
        for table in tables {
            let listed = self.listed(None, Some(table), |one| {
                let place = (one.table, one.destination, one.metric);
                places.contains(&place).then_some((place, one.protocol))
            })?;
            for (place, protocol) in listed {
                first.entry(place).or_insert(protocol);
            }
        }
        Ok(first)
    }

    /// Removes the routes; those that are gone already are skipped.
    ///
    /// # Errors
    /// The kernel refuses one for another reason; the others are gone.
    pub fn delete_routes(&self, routes: &[Route]) -> Result<(), LinkError> {
        let outcomes =
            self.socket().exchange(routes.iter().map(|route| delete(route, self.protocol())).collect())?;
        let mut refusals = outcomes.into_iter().filter_map(Result::err).filter(|error| !error.is_absent());
        refusals.next().map_or(Ok(()), Err)
    }

    /// The results of `take` for the routes of naru's protocol, of all tables and both families. The kernel leaves
    /// the others out.
    fn own_listed<T>(&self, take: impl Fn(&ListedRoute) -> Option<T>) -> Result<Vec<T>, LinkError> {
        let own = self.marks().protocol;
        self.listed(Some(own), None, |route| if route.protocol == own { take(&route) } else { None })
    }

    /// The results of `take` for the routes of both families, of one protocol and table if they are given. Nothing is
    /// kept of the others, however many there are.
    pub(super) fn listed<T>(
        &self,
        protocol: Option<u8>,
        table: Option<u32>,
        take: impl Fn(ListedRoute) -> Option<T>,
    ) -> Result<Vec<T>, LinkError> {
        let what = "routes: list";
        let mut list = Vec::new();
        for family in FAMILIES {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            question.header.protocol = protocol.map_or(RouteProtocol::Unspec, RouteProtocol::from);
            question.attributes.extend(table.map(RouteAttribute::Table));
            let question = RouteNetlinkMessage::GetRoute(question);
            list.append(&mut self.dump_each(&question, what, |all: &mut Vec<T>, reply| {
                all.extend(ListedRoute::of(reply, what)?.and_then(&take));
                Ok(())
            })?);
        }
        Ok(list)
    }
}

/// The properties by which the kernel tells routes apart: table, destination and metric.
type Place = (u32, IpNet, u32);

const fn place(route: &Route) -> Place {
    (route.table, route.destination, route.metric)
}

fn own_metric(destination: IpNet, target: RouteTarget) -> u32 {
    metric(destination, matches!(target, RouteTarget::Unreachable).then_some(UNREACHABLE_METRIC))
}

/// The metric that the kernel lists for a route: an IPv6 route without one gets `IP6_RT_PRIO_USER`.
pub fn metric(destination: IpNet, given: Option<u32>) -> u32 {
    given.filter(|metric| *metric > 0).unwrap_or(if destination.addr().is_ipv4() { 0 } else { 1024 })
}

/// The request that adds the route, unless there is one to the same destination with the same metric.
pub fn add(route: &Route, protocol: RouteProtocol) -> LinkRequest {
    new(route, protocol).with(NLM_F_CREATE | NLM_F_EXCL)
}

/// The request that replaces such a route.
fn replace(route: &Route, protocol: RouteProtocol) -> LinkRequest {
    new(route, protocol).with(NLM_F_CREATE | NLM_F_REPLACE)
}

fn new(route: &Route, protocol: RouteProtocol) -> LinkRequest {
    let mut message = message(route, protocol);
    message.attributes.extend(route.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    LinkRequest::new(RouteNetlinkMessage::NewRoute(message), format!("route {}: add", route.destination))
}

fn taken(route: &Route) -> LinkError {
    let reason = "somebody else has a route to it, which stays".to_owned();
    LinkError::Foreign { device: format!("route {}", route.destination), reason }
}

/// The request that removes the route.
fn delete(route: &Route, protocol: RouteProtocol) -> LinkRequest {
    let what = format!("route {}: delete", route.destination);
    let mut message = message(route, protocol);
    // Without a metric the kernel takes the first route; ours with a metric of its own names it already.
    message.attributes.extend(route.is_beside_ours().then_some(RouteAttribute::Priority(route.metric)));
    LinkRequest::new(RouteNetlinkMessage::DelRoute(message), what)
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
    message.attributes.extend(route.is_spare().then_some(RouteAttribute::Priority(SPARE_METRIC)));
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
