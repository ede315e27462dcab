//! Source routing of a pod with several interfaces of ours: each of its addresses answers by the interface that has it,
//! because the programs of the others would take its packets for spoofed.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType},
};

use super::{
    LinkError, Links, family_of,
    listed_route::ListedRoute,
    next_hop::NextHop,
    route::{COMPAT, MAIN},
    rule::{Rule, Selector, add},
    socket::LinkRequest,
};

/// Index of `lo` in every namespace.
const LOOPBACK: u32 = 1;

/// Base of the numbers of a pod's tables (an interface's index is added), and the preference of the rules that look
/// them up: after the local table, before the main one.
const TABLES: u32 = 5230;
const PREFERENCE: u32 = 5230;

/// An address of the pod with the interface that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Sibling {
    pub index: u32,
    pub ip: IpAddr,
}

impl Links {
    /// Returns true if routes of the pod lead over another interface than this one.
    pub(super) fn has_other_interfaces(&self, index: u32) -> Result<bool, LinkError> {
        let is_other = |device: u32| device != index && device != LOOPBACK;
        let leads = |route: &ListedRoute| route.table == MAIN && !is_link_local(route.destination.addr());
        let others = self.listed(None, Some(MAIN), |route| {
            (leads(&route) && route.devices().any(is_other)).then_some(())
        })?;
        Ok(!others.is_empty())
    }

    /// The addresses of the pod's other interfaces whose gateway is ours.
    pub(super) fn siblings(&self, index: u32) -> Result<Vec<Sibling>, LinkError> {
        let gateways = self.marks().gateways.both();
        let is_ours = |route: &ListedRoute| {
            route.table == MAIN
                && route.hops.iter().any(|hop| gateways.iter().any(|own| hop.next == NextHop::Router(*own)))
        };
        let devices = self.listed(None, Some(MAIN), |route| {
            is_ours(&route).then(|| route.devices().filter(|device| *device != index).collect::<Vec<u32>>())
        })?;
        let devices: BTreeSet<u32> = devices.into_iter().flatten().collect();
        let is_theirs = |index: u32, ip: IpAddr| devices.contains(&index) && !is_link_local(ip);
        let all = self.addresses()?.into_iter().filter(|address| is_theirs(address.index, address.ip));
        Ok(all.map(|address| Sibling { index: address.index, ip: address.ip }).collect())
    }

    /// Gives each interface of ours a table with nothing but a default route by it, and a rule for each of its
    /// addresses that looks it up. Repeating it changes nothing.
    pub(super) fn answer_by_source(&self, index: u32, addresses: &[IpAddr]) -> Result<(), LinkError> {
        let mut all = self.siblings(index)?;
        all.extend(addresses.iter().map(|ip| Sibling { index, ip: *ip }));
        let ways: BTreeSet<(u32, bool)> = all.iter().map(|one| (one.index, one.ip.is_ipv6())).collect();
        let ways = ways.into_iter().map(|(index, v6)| self.default_by(index, v6));
        let rule = |one: &Sibling| Rule {
            selector: Selector::From(IpNet::from(one.ip)),
            table: table_of(one.index),
            preference: PREFERENCE,
            suppress: None,
        };
        let rules = all.iter().map(|one| add(rule(one), self.protocol()));
        for outcome in self.socket().exchange(ways.chain(rules).collect())? {
            match outcome {
                Err(error) if !error.is_present() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn default_by(&self, index: u32, v6: bool) -> LinkRequest {
        let everywhere = if v6 { IpNet::from(Ipv6Net::default()) } else { IpNet::from(Ipv4Net::default()) };
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = family_of(everywhere.addr());
        header.table = COMPAT;
        header.protocol = RouteProtocol::Boot;
        header.kind = RouteType::Unicast;
        header.flags = RouteFlags::Onlink;
        message.attributes = vec![
            RouteAttribute::Table(table_of(index)),
            RouteAttribute::Oif(index),
            RouteAttribute::Gateway(self.marks().gateways.of(everywhere.addr()).into()),
        ];
        let what = format!("link {index}: add default route of its own");
        LinkRequest::new(RouteNetlinkMessage::NewRoute(message), what).with(NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// The table of an interface of the pod.
pub(super) const fn table_of(index: u32) -> u32 {
    TABLES.saturating_add(index)
}

/// Returns true if the address is an IPv6 link-local one, which the kernel makes by itself.
pub(super) const fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
