use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use naru_core::ids::{AttachmentId, PodName, host_ifname};
use naru_netlink::links::{Mac, PodRoute};

use crate::admission::Admission;

/// The request for an attachment, checked by the caller.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The attachment.
    pub id: AttachmentId,
    /// The pod it is for, where the runtime named one.
    pub pod: PodName,
    /// The pod's network namespace.
    pub netns: PathBuf,
    /// The store's pool that addresses come from.
    pub pool: String,
    /// Exact addresses that are requested; if empty, any of the pool, one of each of its families.
    pub addresses: Vec<IpAddr>,
    /// True if another IPAM gave `addresses`: then there is no pool that they come from.
    pub delegated: bool,
    /// True if [`super::prepare`] made the pair already.
    pub prepared: bool,
    /// MTU of the pair in bytes.
    pub mtu: u32,
    /// MAC address of the pod's interface; `None` for a random one.
    pub mac: Option<Mac>,
    /// Routes in the pod; if empty, a default route for each family in which it has an address.
    pub routes: Vec<PodRoute>,
    /// The network's own subnets, which get routes in place of a default route that the pod has already.
    pub subnets: Vec<IpNet>,
    /// Bits of [`naru_abi::pod_flags`].
    pub flags: u32,
    /// What is done about the pod's rights before its first packet.
    pub admission: Admission,
}

/// The properties of a complete attachment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Name of the interface on the node.
    pub host_name: String,
    /// Its MAC address, the pod's gateway's.
    pub host_mac: Mac,
    /// Name of the interface in the pod.
    pub pod_name: String,
    /// Its MAC address.
    pub pod_mac: Mac,
    /// MTU of both in bytes.
    pub mtu: u32,
    /// The pod's addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The pod's routes beyond the one to the gateway.
    pub routes: Vec<PodRoute>,
}

impl Spec {
    /// Name of the interface on the node.
    #[must_use]
    pub fn host_name(&self) -> String {
        host_ifname(&self.id)
    }

    /// The subject of errors about the attachment: `pod default/web-0`, or `container 4f2c` if no pod is known.
    #[must_use]
    pub fn subject(&self) -> String {
        subject(&self.id, &self.pod)
    }

    /// The routes for a pod with these addresses.
    pub(super) fn routes_for(&self, addresses: &[IpAddr]) -> Vec<PodRoute> {
        let has = |v4: bool| addresses.iter().any(|ip| ip.is_ipv4() == v4);
        if self.routes.is_empty() {
            let first = |v4: bool| addresses.iter().find(|ip| ip.is_ipv4() == v4);
            return [first(true), first(false)].into_iter().flatten().map(|ip| default_route(*ip)).collect();
        }
        // A route of a family that the pod has no address in would be refused by the kernel.
        self.routes.iter().copied().filter(|route| has(route.destination.addr().is_ipv4())).collect()
    }
}

/// The subject of errors about an attachment.
pub(super) fn subject(id: &AttachmentId, pod: &PodName) -> String {
    if pod.is_empty() { format!("container {}", id.container()) } else { format!("pod {pod}") }
}

fn default_route(ip: IpAddr) -> PodRoute {
    let everywhere = match ip {
        IpAddr::V4(_) => ipnet::IpNet::V4(ipnet::Ipv4Net::default()),
        IpAddr::V6(_) => ipnet::IpNet::V6(ipnet::Ipv6Net::default()),
    };
    PodRoute::new(everywhere, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(routes: &[&str]) -> Spec {
        let route = |text: &&str| PodRoute::new(text.parse().unwrap(), None);
        Spec {
            id: AttachmentId::new("naru", "4f2c", "eth0").unwrap(),
            pod: PodName::default(),
            netns: "/run/netns/x".into(),
            pool: "node".into(),
            addresses: Vec::new(),
            delegated: false,
            prepared: false,
            mtu: 1450,
            mac: None,
            routes: routes.iter().map(route).collect(),
            subnets: Vec::new(),
            flags: 0,
            admission: Admission::default(),
        }
    }

    fn destinations(routes: &[&str], addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        spec(routes).routes_for(&addresses).iter().map(|route| route.destination.to_string()).collect()
    }

    #[test]
    fn a_pod_gets_a_default_route_for_each_family_it_has() {
        assert_eq!(destinations(&[], &["10.0.0.1", "fd00::1"]), ["0.0.0.0/0", "::/0"]);
        assert_eq!(destinations(&[], &["fd00::1"]), ["::/0"]);
    }

    #[test]
    fn routes_of_a_family_the_pod_does_not_have_are_left_out() {
        assert_eq!(destinations(&["0.0.0.0/0", "::/0"], &["10.0.0.1"]), ["0.0.0.0/0"]);
    }

    #[test]
    fn the_subject_of_an_error_is_the_pod_or_else_the_container() {
        let mut spec = spec(&[]);
        assert_eq!(spec.subject(), "container 4f2c");
        spec.pod = PodName { namespace: "default".into(), name: "web-0".into(), uid: String::new() };
        assert_eq!(spec.subject(), "pod default/web-0");
    }
}
