use crate::{Addr, outcome::UnknownNumber, plain::plain};

/// Value of `ROUTES`; the key is a [`crate::Prefix`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteValue {
    /// A [`RouteKind`] by number.
    pub kind: u32,
    /// Path MTU towards the prefix, in bytes from the inner IP header on; 0 where it does not apply.
    pub mtu: u32,
    /// The remote node's underlay address; unspecified for local kinds.
    pub node: Addr,
    /// Bits of [`route_flags`].
    pub flags: u32,
}
plain!(RouteValue { kind: u32, mtu: u32, node: Addr, flags: u32 });

/// Value of `WAYS`: where the kernel said last that such packets go, for a moment.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WayValue {
    /// When that was, in jiffies.
    pub asked: u64,
    /// From where they come.
    pub source: Addr,
    /// To where they go.
    pub destination: Addr,
    /// The next hop, in network order; the first four bytes of it in IPv4.
    pub hop: Addr,
    /// The next hop's address family, as the kernel counts them.
    pub family: u16,
    /// Identification of the next IPv4 packet that is encapsulated for there.
    pub id: u16,
    /// Interface index of the uplink.
    pub ifindex: u32,
    /// Path MTU of the underlay.
    pub mtu: u32,
    /// What else the answer may depend on: traffic class, protocol in the second byte, and in the third 1 if a pod sent
    /// them, 0 if the node did.
    pub kind: u32,
}
plain!(WayValue {
    asked: u64,
    source: Addr,
    destination: Addr,
    hop: Addr,
    family: u16,
    id: u16,
    ifindex: u32,
    mtu: u32,
    kind: u32
});

/// Bits of [`RouteValue::flags`].
pub mod route_flags {
    /// Packets to this node are encapsulated by the tunnel device only: the node does not take IPv6 UDP without a
    /// checksum, or own encapsulation is switched off for it.
    pub const DEVICE_PATH: u32 = 1;
}

/// What lies behind a prefix of `ROUTES`.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RouteKind {
    /// Pods of a remote node, reached by the tunnel.
    Tunnel = 1,
    /// Pods of a remote node, reached by direct routing.
    Direct = 2,
    /// A block of this node: an address that no pod holds is unreachable.
    LocalBlock = 3,
    /// An address of a remote node itself, reached by the tunnel.
    RemoteNode = 4,
    /// An address of this node.
    LocalNode = 5,
    /// Outside the cluster, but reached without masquerade.
    NoMasquerade = 6,
    /// An address of a remote node itself, reached by direct routing.
    DirectNode = 7,
}

impl RouteKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::Tunnel,
        Self::Direct,
        Self::LocalBlock,
        Self::RemoteNode,
        Self::LocalNode,
        Self::NoMasquerade,
        Self::DirectNode,
    ];

    /// The name as commands print it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Direct => "direct",
            Self::LocalBlock => "local-block",
            Self::RemoteNode => "remote-node",
            Self::LocalNode => "local-node",
            Self::NoMasquerade => "no-masquerade",
            Self::DirectNode => "direct-node",
        }
    }
}

impl TryFrom<u32> for RouteKind {
    type Error = UnknownNumber;

    #[inline(always)]
    fn try_from(number: u32) -> Result<Self, UnknownNumber> {
        match number {
            1 => Ok(Self::Tunnel),
            2 => Ok(Self::Direct),
            3 => Ok(Self::LocalBlock),
            4 => Ok(Self::RemoteNode),
            5 => Ok(Self::LocalNode),
            6 => Ok(Self::NoMasquerade),
            7 => Ok(Self::DirectNode),
            _ => Err(UnknownNumber(number)),
        }
    }
}
