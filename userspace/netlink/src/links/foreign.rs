use ipnet::IpNet;

use super::{LinkError, Links, listed_route::ListedRoute, route::MAIN};

/// `RTPROT_KERNEL`: the prefix of an address that a link has.
const KERNEL: u8 = 2;

/// A route of the main table that is not the caller's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ForeignRoute {
    /// Destination.
    pub destination: IpNet,
    /// The interface it leads to, the first of several; `None` for one that leads nowhere.
    pub device: Option<u32>,
    /// True if the kernel made it, as the prefix of one of that interface's addresses.
    pub is_links_own: bool,
}

impl Links {
    /// Returns routes of the main table that are not ours and whose destination `concerns` the caller. Routes to local,
    /// broadcast, multicast and link-local addresses and default routes are left out. Other routes are not kept in
    /// memory, however many there are.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn foreign_routes(&self, concerns: impl Fn(&IpNet) -> bool) -> Result<Vec<ForeignRoute>, LinkError> {
        let own = self.marks().protocol;
        let mut list = self.listed(None, Some(MAIN), |route| {
            let is_foreign = route.table == MAIN && route.protocol != own && !is_special(&route);
            (is_foreign && concerns(&route.destination)).then(|| ForeignRoute {
                destination: route.destination,
                device: route.devices().next(),
                is_links_own: route.protocol == KERNEL && route.kind == libc::RTN_UNICAST,
            })
        })?;
        list.sort_unstable();
        list.dedup();
        Ok(list)
    }
}

/// Returns true if the route says nothing of who uses its destination.
fn is_special(route: &ListedRoute) -> bool {
    let is_local =
        matches!(route.kind, libc::RTN_LOCAL | libc::RTN_BROADCAST | libc::RTN_ANYCAST | libc::RTN_MULTICAST);
    is_local || route.destination.prefix_len() == 0 || is_link_local(route.destination)
}

/// Returns true if the prefix lies in `169.254.0.0/16`, `fe80::/10` or is multicast.
fn is_link_local(prefix: IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => net.addr().is_link_local() || net.addr().is_multicast(),
        IpNet::V6(net) => net.addr().is_unicast_link_local() || net.addr().is_multicast(),
    }
}
