use std::{net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType},
};

use super::{
    LinkError, Links, Mac, Neighbour, address, family_of, link,
    listed_route::ListedRoute,
    neighbour,
    route::{MAIN, metric},
    socket::{LinkAnswer, LinkRequest},
};
use crate::{
    Gateways, Marks,
    netns::{NetnsError, in_netns},
    sysctl,
};

/// Metric of a second interface's own route to the gateway, less its index.
const GATEWAY_METRIC: u32 = 1 << 16;

/// A route inside a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodRoute {
    /// Destination.
    pub destination: IpNet,
    /// Next hop; the pod's own gateway of that family unless the configuration names another.
    pub gateway: Option<IpAddr>,
    /// MTU of the route in bytes; the interface's where absent.
    pub mtu: Option<u32>,
    /// Largest TCP segment to announce, in bytes; derived from the MTU where absent.
    pub advmss: Option<u32>,
    /// Metric, the smaller the better; the kernel's default where absent.
    pub priority: Option<u32>,
}

impl PodRoute {
    /// A plain route.
    #[must_use]
    pub const fn new(destination: IpNet, gateway: Option<IpAddr>) -> Self {
        Self { destination, gateway, mtu: None, advmss: None, priority: None }
    }

    fn request(&self, index: u32, device: &str, gateways: Gateways) -> LinkRequest {
        let gateway = self.gateway.unwrap_or_else(|| gateways.of(self.destination.addr()));
        route(index, device, self, Some(gateway))
    }
}

/// The pod's end of a pair, as it should be.
#[derive(Clone, Debug)]
pub struct PodSide<'a> {
    /// Name of the interface.
    pub name: &'a str,
    /// MAC address of the host end: the gateway's.
    pub gateway_mac: Mac,
    /// Addresses, each alone in its prefix (/32, /128).
    pub addresses: &'a [IpAddr],
    /// Routes beyond the one to the gateway; those of a family without an address are refused by the kernel.
    pub routes: &'a [PodRoute],
    /// The network's own subnets, as in [`settled_routes`].
    pub subnets: &'a [IpNet],
}

/// Configures the pod's end inside its namespace: sysctls, addresses, up, gateway, routes. Repeating it changes
/// nothing. Returns the routes that it then has, those of [`settled_routes`]: an earlier network keeps its routes, as
/// with the reference plugins.
///
/// # Errors
/// The kernel refuses one of them; what was done before stays and goes with the pair.
pub fn wire_pod(netns: BorrowedFd<'_>, side: &PodSide<'_>, marks: Marks) -> Result<Vec<PodRoute>, LinkError> {
    inside(netns, marks, |links| {
        let found = index_of(links, side.name)?;
        prepare(side)?;
        let mut requests = requests(found, side, marks.gateways);
        let others = requests.len();
        requests.extend(gateways(side, marks.gateways).into_iter().map(|gateway| {
            let on_link = PodRoute::new(IpNet::from(gateway), None);
            route(found, side.name, &on_link, None)
        }));
        requests.extend(
            side.routes.iter().map(|wanted| wanted.request(found, side.name, links.marks().gateways)),
        );
        let mut outcomes = links.socket().exchange(requests)?;
        let all_new = are_new(outcomes.split_off(others))?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))?;
        let routes = if all_new { side.routes.to_vec() } else { links.settle_beside(found, side)? };
        side.addresses.iter().try_for_each(|ip| match ip {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(ip) => links.await_local(*ip).map(drop),
        })?;
        Ok(routes)
    })
}

/// Returns the routes that the pod would have by [`wire_pod`]: those that none of its other interfaces has. If another
/// one has the default route, this one gets routes to the network's own subnets instead, unless the other is in them.
///
/// # Errors
/// There is no such interface, the namespace cannot be entered, or the kernel refuses.
pub fn settled_routes(
    netns: BorrowedFd<'_>,
    side: &PodSide<'_>,
    marks: Marks,
) -> Result<Vec<PodRoute>, LinkError> {
    inside(netns, marks, |links| links.settled(index_of(links, side.name)?, side))
}

fn index_of(links: &Links, name: &str) -> Result<u32, LinkError> {
    let found = links.link(name)?.map(|link| link.index);
    found.ok_or_else(|| LinkError::kernel(format!("{name}: look"), libc::ENODEV))
}

/// Returns true if all that was added was not there before.
fn are_new(outcomes: Vec<LinkAnswer>) -> Result<bool, LinkError> {
    let mut all = true;
    for outcome in outcomes {
        match outcome {
            Err(error) if error.is_present() => all = false,
            outcome => drop(outcome?),
        }
    }
    Ok(all)
}

impl Links {
    /// Sets up an interface beside other interfaces of the pod: adds the routes of [`Links::settled`], a route to the
    /// gateway by this interface too, and rules by which each address answers by its own interface. Returns the routes.
    fn settle_beside(&self, index: u32, side: &PodSide<'_>) -> Result<Vec<PodRoute>, LinkError> {
        let routes = self.settled(index, side)?;
        let own = self.marks().gateways;
        // Existing ones may have been made by an earlier call.
        let is_alone = !self.has_other_interfaces(index)?;
        if !is_alone {
            self.answer_by_source(index, side.addresses)?;
        }
        let on_link = gateways(side, own).into_iter().filter(|_| !is_alone).map(|gateway| {
            // By its metric it may stand beside that of another interface. Plugins that route by source (sbr) rely on
            // one for each.
            let priority = Some(GATEWAY_METRIC + index);
            route(index, side.name, &PodRoute { priority, ..PodRoute::new(IpNet::from(gateway), None) }, None)
        });
        let requests =
            on_link.chain(routes.iter().map(|wanted| wanted.request(index, side.name, own))).collect();
        are_new(self.socket().exchange(requests)?)?;
        Ok(routes)
    }

    fn settled(&self, index: u32, side: &PodSide<'_>) -> Result<Vec<PodRoute>, LinkError> {
        let is_beside =
            |route: &ListedRoute| route.table == MAIN && !route.devices().any(|device| device == index);
        let beside = self.listed(None, Some(MAIN), |route| Some(route).filter(is_beside))?;
        let is_taken = |wanted: &PodRoute| {
            beside.iter().any(|one| {
                one.destination == wanted.destination
                    && one.metric == metric(wanted.destination, wanted.priority)
            })
        };
        let (taken, mut routes): (Vec<PodRoute>, Vec<PodRoute>) =
            side.routes.iter().partition(|one| is_taken(one));
        let others = self.siblings(index)?;
        for default in taken.iter().filter(|route| route.destination.prefix_len() == 0) {
            let is_alike = |net: &&IpNet| net.addr().is_ipv4() == default.destination.addr().is_ipv4();
            // Of two interfaces in one network, the first keeps the route to it.
            let is_new = |net: &&IpNet| !others.iter().any(|other| net.contains(&other.ip));
            let own = side.subnets.iter().filter(is_alike).filter(is_new);
            routes.extend(
                own.map(|net| PodRoute { destination: *net, ..*default }).filter(|one| !is_taken(one)),
            );
        }
        Ok(routes)
    }
}

/// Brings `lo` of the namespace up.
///
/// # Errors
/// The namespace cannot be entered or the kernel refuses.
pub fn loopback_up(netns: BorrowedFd<'_>, marks: Marks) -> Result<(), LinkError> {
    inside(netns, marks, |links| {
        let found = links.link("lo")?.ok_or_else(|| LinkError::kernel("lo: look", libc::ENODEV))?;
        links.ask(link::up(found.index, "lo")).map(drop)
    })
}

/// Runs `work` on a thread inside the namespace with a connection into it.
pub fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    marks: Marks,
    work: impl FnOnce(&Links) -> Result<T, LinkError> + Send,
) -> Result<T, LinkError> {
    in_netns(netns, || work(&Links::open(marks)?)).map_err(|error| refused(&error))?
}

/// A namespace that cannot be entered, in this module's terms.
fn refused(error: &NetnsError) -> LinkError {
    LinkError::kernel(error.subject(), error.errno().unwrap_or(libc::EIO))
}

/// Sysctls of the pod's interface: a change of its MAC announces itself; IPv6 is on, ignores router advertisements, and
/// its addresses are usable at once, also from inside by way of `lo`, where IPv6 may be off by default.
const SYSCTLS: [(&str, Option<&str>, &str, bool); 6] = [
    ("ipv4", None, "arp_notify=1", false),
    ("ipv6", None, "accept_dad=0", true),
    ("ipv6", None, "accept_ra=0", true),
    ("ipv6", None, "ndisc_notify=1", true),
    ("ipv6", None, "disable_ipv6=0", true),
    ("ipv6", Some("lo"), "disable_ipv6=0", true),
];

/// Sets the sysctls of the families in which the pod has addresses.
fn prepare(side: &PodSide<'_>) -> Result<(), LinkError> {
    let serves = |v6: bool| side.addresses.iter().any(|ip| ip.is_ipv6() == v6);
    for (family, device, setting, v6) in SYSCTLS {
        if serves(v6) {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            let name = format!("net/{family}/conf/{}/{key}", device.unwrap_or(side.name));
            sysctl::set(&name, value).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                LinkError::kernel(format!("{name}: write {value}"), errno)
            })?;
        }
    }
    Ok(())
}

/// The requests for up, addresses and gateways, in the order that the kernel needs.
fn requests(index: u32, side: &PodSide<'_>, own: Gateways) -> Vec<LinkRequest> {
    let name = side.name;
    let mut requests = vec![link::up(index, name)];
    requests.extend(side.addresses.iter().map(|ip| address::add(index, name, *ip)));
    for gateway in gateways(side, own) {
        let mac = side.gateway_mac;
        requests.push(neighbour::add(&Neighbour { index, ip: gateway, mac }, name));
    }
    requests
}

/// Returns the next hops of the pod, each once: its own gateway of each family, and those of the configuration. All of
/// them are the host end.
fn gateways(side: &PodSide<'_>, own: Gateways) -> Vec<IpAddr> {
    let own = own.both().into_iter();
    let own = own.filter(|gateway| side.addresses.iter().any(|ip| ip.is_ipv4() == gateway.is_ipv4()));
    let mut list: Vec<IpAddr> = own.chain(side.routes.iter().filter_map(|route| route.gateway)).collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// The request for one route of the pod; without `gateway` it leads onto the link.
fn route(index: u32, device: &str, wanted: &PodRoute, gateway: Option<IpAddr>) -> LinkRequest {
    let destination = wanted.destination;
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family_of(destination.addr());
    header.destination_prefix_length = destination.prefix_len();
    header.table = u8::try_from(MAIN).unwrap_or_default();
    header.protocol = RouteProtocol::Boot;
    header.kind = RouteType::Unicast;
    header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.attributes = vec![RouteAttribute::Oif(index)];
    if destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(destination.network().into()));
    }
    if let Some(gateway) = gateway {
        message.header.flags = RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Gateway(gateway.into()));
    }
    let metrics = [wanted.mtu.map(RouteMetric::Mtu), wanted.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<RouteMetric> = metrics.into_iter().flatten().collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message.attributes.extend(wanted.priority.map(RouteAttribute::Priority));
    LinkRequest::new(RouteNetlinkMessage::NewRoute(message), format!("{device}: add route {destination}"))
        .with(NLM_F_CREATE | NLM_F_EXCL)
}
