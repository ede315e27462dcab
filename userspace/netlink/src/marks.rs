use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The marks that distinguish a program's own objects in the kernel from everybody else's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Protocol number of its routes and rules (`RTA_PROTOCOL`, `FRA_PROTOCOL`).
    pub protocol: u8,
    /// Beginning of the alias of every host veth.
    pub alias_prefix: &'static str,
    /// The place of its traffic-control filters.
    pub filter: FilterMark,
    /// Next hops inside pods, and of routes to remote blocks.
    pub gateways: Gateways,
}

/// The place of a traffic-control filter in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilterMark {
    /// Priority, the upper half of `tcm_info`.
    pub priority: u16,
    /// Handle.
    pub handle: u32,
}

/// One link-local address of each family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gateways {
    /// The IPv4 one.
    pub v4: Ipv4Addr,
    /// The IPv6 one.
    pub v6: Ipv6Addr,
}

impl Gateways {
    /// The gateway of the family of `ip`.
    #[must_use]
    pub const fn of(self, ip: IpAddr) -> IpAddr {
        if ip.is_ipv4() { IpAddr::V4(self.v4) } else { IpAddr::V6(self.v6) }
    }

    /// Both, IPv4 first.
    #[must_use]
    pub const fn both(self) -> [IpAddr; 2] {
        [IpAddr::V4(self.v4), IpAddr::V6(self.v6)]
    }
}
