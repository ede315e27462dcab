use std::{net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;

use super::{LinkError, Mac};

/// A route inside a pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodRoute {
    /// Destination.
    pub destination: IpNet,
    /// Next hop; the pod's own gateway of that family unless the configuration names another.
    pub gateway: Option<IpAddr>,
    /// MTU of the route in bytes; the interface's where absent.
    pub mtu: Option<u32>,
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
}

/// Configures the pod's end inside its namespace: sysctls, addresses, up, gateway, routes.
///
/// # Errors
/// The kernel refuses one of them; what was done before stays and goes with the pair.
pub fn wire_pod(netns: BorrowedFd<'_>, side: &PodSide<'_>) -> Result<(), LinkError> {
    let _ = (netns, side);
    todo!()
}

/// Brings `lo` of the namespace up.
///
/// # Errors
/// The namespace cannot be entered or the kernel refuses.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<(), LinkError> {
    let _ = netns;
    todo!()
}
