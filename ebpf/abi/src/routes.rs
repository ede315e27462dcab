use crate::{Addr, outcome::UnknownNumber, plain::plain};

/// Value of `ROUTES`; the key is a [`crate::Prefix`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteValue {
    /// A [`Destination`] by number.
    pub destination: u32,
    /// A [`Transport`] by number.
    pub transport: u32,
    /// Path MTU towards the prefix, in bytes from the inner IP header on; 0 where it does not apply.
    pub mtu: u32,
    /// The remote node's underlay address; unspecified for destinations of this node or outside the cluster.
    pub node: Addr,
    /// Bits of [`route_flags`].
    pub flags: u32,
    /// The set of policy peers that the prefix's addresses belong to on this node; 0 for none.
    pub class: u32,
}
plain!(RouteValue { destination: u32, transport: u32, mtu: u32, node: Addr, flags: u32, class: u32 });

impl RouteValue {
    /// A destination that the programs do not reach themselves: an address of this node, or one outside the cluster.
    #[must_use]
    pub const fn local(destination: Destination) -> Self {
        Self::remote(RouteKind { destination, transport: Transport::Stack }, Addr::UNSPECIFIED, 0)
    }

    /// A destination on another node: `node` is that node's first address, `mtu` the path MTU.
    #[must_use]
    pub const fn remote(RouteKind { destination, transport }: RouteKind, node: Addr, mtu: u32) -> Self {
        Self { destination: destination as u32, transport: transport as u32, mtu, node, flags: 0, class: 0 }
    }

    /// Returns the two numbers as a kind.
    ///
    /// # Errors
    /// One of them names nothing in this version.
    pub fn kind(&self) -> Result<RouteKind, UnknownNumber> {
        Ok(RouteKind { destination: self.destination.try_into()?, transport: self.transport.try_into()? })
    }

    /// Returns true if the prefix belongs to another node or to its pods, by whichever transport.
    #[inline(always)]
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        self.is(Destination::Pods) || self.is(Destination::Node)
    }

    /// Returns true if `destination` lies behind the prefix.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, destination: Destination) -> bool {
        self.destination == destination as u32
    }

    /// Returns true if packets to the prefix take `transport`.
    #[inline(always)]
    #[must_use]
    pub const fn goes_by(&self, transport: Transport) -> bool {
        self.transport == transport as u32
    }
}

/// Bits of [`RouteValue::flags`].
pub mod route_flags {
    /// Packets to this node are encapsulated by the tunnel device only: that node does not accept IPv6 UDP without a
    /// checksum, or own encapsulation is switched off for it.
    pub const KERNEL_ENCAPSULATION: u32 = 1;
}

/// The kind of destination behind a prefix of `ROUTES`.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Destination {
    /// Pods of a remote node.
    Pods = 1,
    /// An address of a remote node itself.
    Node = 2,
    /// A block of this node: an address that no pod holds is unreachable.
    OwnBlock = 3,
    /// An address of this node.
    OwnNode = 4,
    /// Outside the cluster, but reached without masquerade.
    NoMasquerade = 5,
}

impl TryFrom<u32> for Destination {
    type Error = UnknownNumber;

    #[inline(always)]
    fn try_from(number: u32) -> Result<Self, UnknownNumber> {
        match number {
            1 => Ok(Self::Pods),
            2 => Ok(Self::Node),
            3 => Ok(Self::OwnBlock),
            4 => Ok(Self::OwnNode),
            5 => Ok(Self::NoMasquerade),
            _ => Err(UnknownNumber(number)),
        }
    }
}

/// The way in which packets reach a destination.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// As the node's stack decides.
    Stack = 0,
    /// In the tunnel.
    Tunnel = 1,
    /// By direct routing.
    Direct = 2,
}

impl TryFrom<u32> for Transport {
    type Error = UnknownNumber;

    #[inline(always)]
    fn try_from(number: u32) -> Result<Self, UnknownNumber> {
        match number {
            0 => Ok(Self::Stack),
            1 => Ok(Self::Tunnel),
            2 => Ok(Self::Direct),
            _ => Err(UnknownNumber(number)),
        }
    }
}

/// The destination behind a prefix, and the transport to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKind {
    /// The kind of destination.
    pub destination: Destination,
    /// The transport to it.
    pub transport: Transport,
}

impl RouteKind {
    /// Pods of a remote node.
    #[must_use]
    pub const fn pods(transport: Transport) -> Self {
        Self { destination: Destination::Pods, transport }
    }

    /// A remote node itself.
    #[must_use]
    pub const fn node(transport: Transport) -> Self {
        Self { destination: Destination::Node, transport }
    }

    /// The name as commands print it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match (self.destination, self.transport) {
            (Destination::Pods, Transport::Tunnel) => "tunnel",
            (Destination::Pods, Transport::Direct) => "direct",
            (Destination::Pods, Transport::Stack) => "stack",
            (Destination::Node, Transport::Tunnel) => "remote-node",
            (Destination::Node, Transport::Direct) => "direct-node",
            (Destination::Node, Transport::Stack) => "stack-node",
            (Destination::OwnBlock, _) => "local-block",
            (Destination::OwnNode, _) => "local-node",
            (Destination::NoMasquerade, _) => "no-masquerade",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_as_what_it_stands_for_and_no_other_does() {
        for number in 0..10 {
            assert_eq!(
                Destination::try_from(number).ok().map(|it| it as u32),
                (1..=5).contains(&number).then_some(number)
            );
            assert_eq!(
                Transport::try_from(number).ok().map(|it| it as u32),
                (0..=2).contains(&number).then_some(number)
            );
        }
        let value = RouteValue::remote(RouteKind::node(Transport::Direct), Addr::UNSPECIFIED, 1500);
        assert_eq!(value.kind(), Ok(RouteKind::node(Transport::Direct)));
        assert_eq!(RouteValue { transport: 3, ..value }.kind(), Err(UnknownNumber(3)));
    }
}
