//! Links, addresses, routes, neighbours and rules over rtnetlink: facts in, single changes out.
//!
//! Everything here blocks and none of it needs an async runtime. A [`Links`] is one netlink socket, bound to the
//! network namespace of the thread that opened it; a process keeps one. What must happen inside a pod's namespace
//! opens a short-lived socket there on a scoped thread ([`wire_pod`], [`pod_facts`], [`loopback_up`]).

mod address;
mod error;
mod host_side;
mod link;
mod mac;
mod neighbour;
mod overlay;
mod pair;
mod path;
mod pod;
mod pod_facts;
mod route;
mod rule;
mod socket;
mod watch;

pub use address::NodeAddress;
pub use error::{Errno, LinkError};
pub use host_side::{HostSide, PodAddress};
pub use link::{ALIAS_PREFIX, HostVeth, Link};
pub use mac::Mac;
pub use neighbour::Neighbour;
pub use overlay::{Overlay, OverlayState};
pub use pair::PairSpec;
pub use path::{DefaultRoute, UnderlayPath};
pub use pod::{PodRoute, PodSide, loopback_up, wire_pod};
pub use pod_facts::{PodFacts, PodRouteFact, pod_facts};
pub use route::{Route, RouteTarget, UNREACHABLE_METRIC};
pub use rule::{RULE_PREFERENCE, Rule, TABLE};
pub use watch::{Change, Watch, watch};

use std::{net::IpAddr, sync::Mutex};

use socket::Socket;

/// The gateway every IPv4 pod has, and the next hop of every route to a remote IPv4 block.
pub const GATEWAY_V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 1, 1));
/// The gateway every IPv6 pod has, and the next hop of every route to a remote IPv6 block.
pub const GATEWAY_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// The gateway of the family of `ip`.
#[must_use]
pub const fn gateway_for(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { GATEWAY_V4 } else { GATEWAY_V6 }
}

/// One netlink connection into one network namespace.
#[derive(Debug)]
pub struct Links {
    socket: Mutex<Socket>,
}

impl Links {
    /// A connection into the calling thread's network namespace.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> Result<Self, LinkError> {
        Ok(Self { socket: Mutex::new(Socket::open()?) })
    }
}
