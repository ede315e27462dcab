use std::net::IpAddr;

use super::{LinkError, Links, Mac, Neighbour, Route, link, neighbour, route};

/// One address of a pod as its node routes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodAddress {
    /// The pod's address.
    pub ip: IpAddr,
    /// The node's address of that family, source of the node's own packets to the pod.
    pub source: Option<IpAddr>,
}

/// What the node's side of a pod needs once the pod is in the maps.
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
    /// Brings the host veth up and gives it the routes and permanent neighbours of the pod's addresses, in one exchange.
    /// Repeating it changes nothing.
    ///
    /// # Errors
    /// The kernel refuses; what was added before stays and goes with the veth.
    pub fn activate(&self, side: &HostSide<'_>) -> Result<(), LinkError> {
        let device = format!("veth {}", side.name);
        let mut requests = vec![link::up_without_neighbour_discovery(side.index, &device)];
        for &PodAddress { ip, source } in side.addresses {
            requests.push(neighbour::add(&Neighbour { index: side.index, ip, mac: side.pod_mac }, &device));
            requests.push(route::add(&Route::to_pod(ip, side.index, source, side.mtu)));
        }
        self.socket().apply(requests)
    }
}
