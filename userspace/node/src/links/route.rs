use std::net::IpAddr;

use ipnet::IpNet;

use super::{LinkError, Links, gateway_for};

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

/// A kernel route of protocol [`naru_abi::ROUTE_PROTOCOL`].
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
}

/// The main routing table.
const MAIN: u32 = 254;

impl Route {
    /// The route to a local pod's address.
    #[must_use]
    pub fn to_pod(ip: IpAddr, index: u32, source: Option<IpAddr>, mtu: u32) -> Self {
        let target = RouteTarget::Device { index };
        Self { destination: IpNet::from(ip), table: MAIN, target, source, mtu: Some(mtu) }
    }

    /// The route to a remote block through the overlay device `index`.
    #[must_use]
    pub fn to_block(block: IpNet, index: u32, source: Option<IpAddr>, mtu: u32) -> Self {
        let target = RouteTarget::Gateway { index, via: gateway_for(block.addr()) };
        Self { destination: block, table: MAIN, target, source, mtu: Some(mtu) }
    }

    /// The route, in our own table, of pods' forwarded packets to a remote node's address.
    #[must_use]
    pub fn to_node(node: IpAddr, index: u32, mtu: u32) -> Self {
        let target = RouteTarget::Gateway { index, via: gateway_for(node) };
        Self { destination: IpNet::from(node), table: super::TABLE, target, source: None, mtu: Some(mtu) }
    }

    /// The route of an own block: what no pod holds is unreachable.
    #[must_use]
    pub fn unreachable(block: IpNet) -> Self {
        Self { destination: block, table: MAIN, target: RouteTarget::Unreachable, source: None, mtu: None }
    }
}

impl Links {
    /// Every route of our protocol, in all tables and both families.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn routes(&self) -> Result<Vec<Route>, LinkError> {
        todo!()
    }

    /// Destinations of the main table's routes that are not ours, default routes left out: what a pod range must not overlap.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn foreign_routes(&self) -> Result<Vec<IpNet>, LinkError> {
        todo!()
    }

    /// Adds the routes, each in place of one of ours to the same destination, in one exchange.
    ///
    /// # Errors
    /// The kernel refuses one; the first refusal is returned, the others are in place.
    pub fn ensure_routes(&self, routes: &[Route]) -> Result<(), LinkError> {
        let _ = routes;
        todo!()
    }

    /// Removes the routes; those that are gone already are passed over.
    ///
    /// # Errors
    /// The kernel refuses one for another reason; the others are gone.
    pub fn delete_routes(&self, routes: &[Route]) -> Result<(), LinkError> {
        let _ = routes;
        todo!()
    }
}
