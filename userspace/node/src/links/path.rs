use std::net::IpAddr;

use super::{LinkError, Links};

/// How this node reaches an address of the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnderlayPath {
    /// The outgoing interface.
    pub index: u32,
    /// Its name.
    pub device: String,
    /// MTU of the path in bytes: the route's where it has one, else the device's.
    pub mtu: u32,
    /// The source address the kernel would take.
    pub source: Option<IpAddr>,
}

/// A default route of the main table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultRoute {
    /// The outgoing interface.
    pub index: u32,
    /// Whether it is an IPv6 route.
    pub v6: bool,
    /// Whether it came from a router advertisement, so that forwarding would end it.
    pub from_router_advertisement: bool,
}

impl Links {
    /// How the kernel would reach `ip` now.
    ///
    /// # Errors
    /// There is no route ([`LinkError::errno`] is `ENETUNREACH` or `EHOSTUNREACH`), or the kernel refuses.
    pub fn path_to(&self, ip: IpAddr) -> Result<UnderlayPath, LinkError> {
        let _ = ip;
        todo!()
    }

    /// The default routes of both families that have a device.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn default_routes(&self) -> Result<Vec<DefaultRoute>, LinkError> {
        todo!()
    }
}
