//! Links, addresses, routes, neighbours and rules over rtnetlink: reads facts, and makes single changes.
//!
//! Everything here blocks and needs no async runtime. A [`Links`] is one netlink socket, bound to the network namespace
//! of the thread that opened it; a process keeps one. Work inside a pod's namespace opens a short-lived socket there on
//! a scoped thread ([`wire_pod`], [`pod_facts`], [`loopback_up`]).

mod address;
mod error;
mod foreign;
mod host_side;
mod link;
mod listed_route;
mod mac;
mod neighbour;
mod netconf;
mod next_hop;
mod overlay;
mod pair;
mod path;
mod pod;
mod pod_facts;
mod pod_sources;
mod port;
pub(crate) mod reply;
mod route;
mod rule;
mod running;
mod socket;
mod watch;

pub use address::NodeAddress;
pub use error::LinkError;
pub use foreign::ForeignRoute;
pub use host_side::{HostSide, PodAddress};
pub use link::{HostVeth, Link};
pub use mac::Mac;
pub use neighbour::Neighbour;
pub use netconf::{ConfOf, DeviceConf};
pub use next_hop::NextHop;
pub use overlay::{Overlay, OverlayState};
pub use pair::PairSpec;
pub use path::UnderlayPath;
pub use pod::{PodRoute, PodSide, loopback_up, settled_routes, wire_pod};
pub use pod_facts::{PodFacts, PodRouteFact, pod_facts, pod_link};
pub use route::{MAIN, Route, RouteTarget, SPARE_METRIC, UNREACHABLE_METRIC};
pub use rule::{ForeignRule, Rule, RuleList, Selector};
pub use watch::{Change, Watch};

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, route::RouteProtocol};
use reply::Reply;
use socket::{LinkAnswer, LinkRequest, Socket};

use crate::Marks;

/// One netlink connection into one network namespace.
#[derive(Debug)]
pub struct Links {
    socket: Mutex<Socket>,
    marks: Marks,
}

impl Links {
    /// Opens a connection into the calling thread's network namespace; `marks` distinguish the caller's own objects.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open(marks: Marks) -> Result<Self, LinkError> {
        Ok(Self { socket: Mutex::new(Socket::open()?), marks })
    }

    /// The marks of the caller's own objects.
    #[must_use]
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The protocol number of the caller's own routes and rules.
    const fn protocol(&self) -> RouteProtocol {
        RouteProtocol::Other(self.marks.protocol)
    }

    /// Locks the socket. A panic elsewhere leaves it usable: unread answers are skipped by their number.
    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request.
    fn ask(&self, request: LinkRequest) -> LinkAnswer {
        self.socket().ask(request)
    }

    /// Makes a change; returns false if its object is gone already.
    fn removed(&self, request: LinkRequest) -> Result<bool, LinkError> {
        match self.ask(request) {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists all objects of one family; none if the kernel has no such family.
    fn dump(&self, message: &RouteNetlinkMessage, what: &str) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
        self.dump_each(message, what, |all: &mut Vec<_>, reply| {
            all.push(reply.decode(what)?);
            Ok(())
        })
    }

    /// The results of `take` for everything of one family, as [`Socket::dump`].
    fn dump_each<T: Default>(
        &self,
        message: &RouteNetlinkMessage,
        what: &str,
        take: impl FnMut(&mut T, &Reply) -> Result<(), LinkError>,
    ) -> Result<T, LinkError> {
        match self.socket().dump(message, what, take) {
            Err(error) if matches!(error.errno(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {
                Ok(T::default())
            }
            other => other,
        }
    }
}

/// Both families.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// The family of an address.
const fn family_of(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Bits of an address of the family of `ip`.
const fn host_len(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}
