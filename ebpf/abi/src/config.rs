use crate::plain::plain;

/// The one value of `CONFIG`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// [`crate::ABI_VERSION`] of whoever wrote it.
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
}
plain!(Config { abi: u32, features: u32, overlay_ifindex: u32, tunnel_port: u32, vni: u32, reserved: u32 });

/// Bits of [`Config::features`].
pub mod features {
    /// The kernel has `bpf_redirect_peer` (5.10 and newer).
    pub const REDIRECT_PEER: u32 = 1;
}
