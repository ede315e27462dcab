use std::net::IpAddr;

use super::{LinkError, Links, Mac, Neighbour, Route, link, neighbour, route};

/// One address of a pod as its node routes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodAddress {
    /// The pod's address.
    pub ip: IpAddr,
    /// The node's address of that family, as the source of the node's own packets to the pod. It is used if the machine
    /// still has it.
    pub source: Option<IpAddr>,
}

/// The objects on the node's side that a pod needs once it is in the maps.
#[derive(Clone, Debug)]
pub struct HostSide<'a> {
    /// Name of the host veth, for errors.
    pub name: &'a str,
    /// Its interface index.
    pub index: u32,
    /// MTU of the routes, in bytes.
    pub mtu: u32,
    /// MAC address of the pod's interface.
    pub pod_mac: Mac,
    /// The pod's addresses.
    pub addresses: &'a [PodAddress],
}

impl Links {
    /// Brings the host veth up and gives it the routes and permanent neighbours of the pod's addresses, in one
    /// exchange. Repeating it changes nothing.
    ///
    /// # Errors
    /// The kernel refuses; what was added before stays and goes with the veth.
    pub fn activate(&self, side: &HostSide<'_>) -> Result<(), LinkError> {
        let device = format!("veth {}", side.name);
        let mut requests = vec![link::up_without_neighbour_discovery(side.index, &device)];
        let routes: Vec<Route> = side.addresses.iter().flat_map(|address| routes(side, *address)).collect();
        for &PodAddress { ip, .. } in side.addresses {
            requests.push(neighbour::add(&Neighbour { index: side.index, ip, mac: side.pod_mac }, &device));
        }
        let others = requests.len();
        requests.extend(routes.iter().map(|route| route::add(route, self.protocol())));
        let mut outcomes = self.socket().exchange(requests)?;
        let mut of_routes = outcomes.split_off(others);
        for (route, outcome) in routes.iter().zip(&mut of_routes) {
            if route.source.is_some() && matches!(outcome, Err(error) if error.errno() == Some(libc::EINVAL))
            {
                // The machine has lost that address since it was looked up; the spare route leads to the pod.
                *outcome = Ok(None);
            }
        }
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))?;
        self.settle_routes(&routes, of_routes)
    }
}

/// The routes to one address of the pod: the one with the source, where there is one, and its spare.
fn routes(side: &HostSide<'_>, address: PodAddress) -> impl Iterator<Item = Route> {
    let first = Route::to_pod(address.ip, side.index, address.source, side.mtu);
    [Some(first), address.source.map(|_| first.spare())].into_iter().flatten()
}
