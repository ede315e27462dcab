use crate::{Addr, plain::plain};

/// Slots of [`ConfigSlots`], a power of two.
pub const CONFIG_SLOTS: usize = 8;

/// The one value of `CONFIG`. A change is written into a free slot and takes effect by one word, so that a program
/// never reads parts of two configurations; a slot is reused after seven more changes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigSlots {
    /// Number of the slot in force.
    pub current: u32,
    /// Zero; keeps the slots aligned.
    pub reserved: u32,
    /// The slots; all zero before the first change.
    pub slots: [Config; CONFIG_SLOTS],
}
plain!(ConfigSlots { current: u32, reserved: u32, slots: [Config; CONFIG_SLOTS] });
// SAFETY: an array of a plain type has neither padding nor invalid bit patterns.
unsafe impl<const N: usize> crate::Plain for [Config; N] {}

impl ConfigSlots {
    /// The position of the slot in force.
    #[inline(always)]
    #[must_use]
    pub const fn position(current: u32) -> usize {
        current as usize % CONFIG_SLOTS
    }
}

/// A node's configuration, as its programs read it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// [`crate::ABI_VERSION`] of the program that wrote it.
    pub abi: u32,
    /// Bits of [`features`].
    pub features: u32,
    /// Interface index of the vxlan device; 0 before it exists.
    pub overlay_ifindex: u32,
    /// UDP port of the tunnel, host order.
    pub tunnel_port: u32,
    /// Tunnel key (VXLAN network identifier) of the cluster.
    pub vni: u32,
    /// Zero; keeps the size a multiple of eight.
    pub reserved: u32,
    /// This node's IPv4 underlay address: outer source of packets that are encapsulated here, outer destination of
    /// packets that are decapsulated here. Unspecified if the node has none.
    pub node_v4: Addr,
    /// The same of IPv6.
    pub node_v6: Addr,
}
plain!(Config {
    abi: u32,
    features: u32,
    overlay_ifindex: u32,
    tunnel_port: u32,
    vni: u32,
    reserved: u32,
    node_v4: Addr,
    node_v6: Addr,
});

/// Bits of [`Config::features`].
pub mod features {
    /// The kernel has `bpf_redirect_peer` (5.10 and newer).
    pub const REDIRECT_PEER: u32 = 1;
    /// `from_pod` encapsulates and `from_underlay` decapsulates; without it the tunnel device does both.
    pub const OWN_ENCAPSULATION: u32 = 1 << 1;
    /// Packets from and to nodes reached by direct routing take the fast path; without it they take the stack. Not set
    /// if no node of the cluster may send that way.
    pub const DIRECT: u32 = 1 << 2;
    /// Another program uses the tunnel's port on this node: packets with another key are not ours, and the tunnel
    /// device, whose port is translated behind it, sends without an outer checksum.
    pub const SHARED_PORT: u32 = 1 << 3;
    /// Ports may decide where the kernel routes a packet: a rule matches on them, or they choose among paths of equal
    /// cost.
    pub const ROUTES_BY_PORTS: u32 = 1 << 4;
}
