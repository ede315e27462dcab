//! Comparison of `prevResult` with a live attachment. Other plugins of the chain may have added to it; naru's own
//! part must be there, unchanged.

use std::{fs, net::IpAddr, os::unix::fs::MetadataExt, path::Path};

use ipnet::IpNet;
use naru_cni_types::{CniResult, Interface, Ip};
use naru_node::{
    endpoint::{Attached, Expected},
    machine::GATEWAYS,
};

/// Our part of a result.
pub(super) struct Listed<'a> {
    result: &'a CniResult,
    netns: &'a Path,
    ifname: &'a str,
}

impl<'a> Listed<'a> {
    pub(super) fn new(result: &'a CniResult, netns: &'a Path, ifname: &'a str) -> Self {
        Self { result, netns, ifname }
    }

    /// The properties that the store and the container must have.
    pub(super) fn expected(&self) -> Expected {
        let addresses = self.own_ips().map(|ip| ip.address.addr()).collect();
        Expected { addresses, routes: self.result.routes.iter().map(|route| route.dst).collect() }
    }

    /// Returns the first property that is missing in the list, or differs from `attached`. `is_lent`: another IPAM gave
    /// the addresses, and named the gateways.
    pub(super) fn difference(&self, attached: &Attached, is_lent: bool) -> Option<String> {
        let inside = |one: &&Interface| self.is_own(one);
        let on_node = |one: &&Interface| one.name == attached.host_name && one.sandbox.is_empty();
        self.interface(&attached.pod_name, &attached.pod_mac.to_string(), "of this container", inside)
            .or_else(|| {
                self.interface(&attached.host_name, &attached.host_mac.to_string(), "of this node", on_node)
            })
            .or_else(|| attached.addresses.iter().find_map(|address| self.address(*address, is_lent)))
    }

    fn interface(
        &self,
        name: &str,
        mac: &str,
        whose: &str,
        is_it: impl Fn(&&Interface) -> bool,
    ) -> Option<String> {
        match self.result.interfaces.iter().find(is_it) {
            None => Some(format!("prevResult: has no interface {name} {whose}")),
            Some(one) if !one.mac.is_empty() && !one.mac.eq_ignore_ascii_case(mac) => {
                Some(format!("prevResult: interface {name} has mac {}, but it is {mac}", one.mac))
            }
            Some(_) => None,
        }
    }

    fn address(&self, address: IpAddr, is_lent: bool) -> Option<String> {
        let Some(ip) = self.own_ips().find(|ip| ip.address.addr() == address) else {
            return Some(format!("prevResult: has no address {address} of {}", self.ifname));
        };
        if ip.address != IpNet::from(address) {
            return Some(format!(
                "prevResult: has {}, but the address is {}",
                ip.address,
                IpNet::from(address)
            ));
        }
        let gateway = ip.gateway.filter(|gateway| !is_lent && *gateway != GATEWAYS.of(address));
        gateway.map(|gateway| {
            format!("prevResult: the gateway of {address} is {gateway}, but it is {}", GATEWAYS.of(address))
        })
    }

    /// Returns the addresses of our interface. One that names no interface counts as ours.
    fn own_ips(&self) -> impl Iterator<Item = &'a Ip> {
        let is_inside = |index: Option<usize>| {
            index.is_none_or(|at| self.result.interfaces.get(at).is_some_and(|one| self.is_own(one)))
        };
        self.result.ips.iter().filter(move |ip| is_inside(ip.interface))
    }

    fn is_own(&self, one: &Interface) -> bool {
        one.name == self.ifname
            && !one.sandbox.is_empty()
            && is_same_namespace(Path::new(&one.sandbox), self.netns)
    }
}

/// Returns true if two paths are of one namespace: `/var/run` leads to `/run`.
fn is_same_namespace(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    one == other || file(one).is_some_and(|found| file(other) == Some(found))
}
