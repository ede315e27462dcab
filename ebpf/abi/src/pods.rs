use crate::plain::plain;

/// Value of `PODS`; the key is the pod's [`crate::Addr`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodValue {
    /// Generation of the address's assignment; user space deletes by compare.
    pub generation: u64,
    /// Interface index of the pod's veth on the node's side.
    pub ifindex: u32,
    /// Bits of [`pod_flags`].
    pub flags: u32,
    /// Largest packet, from the IP header on, that the pod's interface takes, in bytes.
    pub mtu: u32,
    /// MAC address of the pod's interface, as last seen from the pod.
    pub pod_mac: [u8; 6],
    /// MAC address of the host end, which the pod uses as its gateway's.
    pub host_mac: [u8; 6],
}
plain!(PodValue { generation: u64, ifindex: u32, flags: u32, mtu: u32, pod_mac: [u8; 6], host_mac: [u8; 6] });

/// Value of `INTERFACES`; the key is the ifindex of a pod's host veth. What holds for whatever the pod sends,
/// also from an address that is not in `PODS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceValue {
    /// Bits of [`pod_flags`].
    pub flags: u32,
    /// MAC address of the host end, which answers for the gateway.
    pub host_mac: [u8; 6],
    /// MAC address assigned to the pod's interface, the only one it may use under [`pod_flags::CHECK_MAC`].
    pub pod_mac: [u8; 6],
}
plain!(InterfaceValue { flags: u32, host_mac: [u8; 6], pod_mac: [u8; 6] });

/// Bits of [`PodValue::flags`] and [`InterfaceValue::flags`].
pub mod pod_flags {
    /// The pod's packets, both ways, take the node's stack (conf `shortcut: off`).
    pub const NO_SHORTCUT: u32 = 1;
    /// The source MAC must be the assigned one (conf `antispoof: mac`).
    pub const CHECK_MAC: u32 = 1 << 1;
    /// Any source address may leave the pod (conf `sourceCheck: off`).
    pub const ANY_SOURCE: u32 = 1 << 2;
    /// The pod may ask for an address: its DHCP broadcasts go to the node's stack (conf `ipam.type: dhcp`).
    pub const DHCP: u32 = 1 << 3;
    /// `FLOWS` has, or had, entries about what the pod sends: set by the programs that make one. Nobody looks there without
    /// it.
    pub const SENDS_ANSWERS: u32 = 1 << 4;
    /// The same of what the pod receives.
    pub const RECEIVES_ANSWERS: u32 = 1 << 5;
}
