use crate::{Addr, plain::plain};

/// Value of `NEXT_HOPS`: the kernel's last answer for such packets, kept for a moment.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHopValue {
    /// The time of that answer, in jiffies.
    pub asked: u64,
    /// Source address of the packets.
    pub source: Addr,
    /// Destination address of the packets.
    pub destination: Addr,
    /// Other inputs of the look-up: traffic class in the first byte, protocol in the second, and in the third 1 if a
    /// pod sent the packets, 0 if the node did.
    pub selector: u32,
    /// Source and destination port if routing depends on them ([`crate::features::ROUTES_BY_PORTS`]); else 0.
    pub ports: [u16; 2],
    /// Identification of the next IPv4 packet that is encapsulated to this destination.
    pub id: u32,
    /// The number of the look-up: if it changes, another program has taken the place (PREEMPT_RT).
    pub version: u32,
    /// The parameters of the look-up, and the answer that the kernel wrote over them.
    pub lookup: FibLookup,
}
plain!(NextHopValue {
    asked: u64,
    source: Addr,
    destination: Addr,
    selector: u32,
    ports: [u16; 2],
    id: u32,
    version: u32,
    lookup: FibLookup
});

/// `struct bpf_fib_lookup` (`include/uapi/linux/bpf.h`); of its unions only the members that are used here. It is kept
/// in the map, because a program's stack has no room for it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FibLookup {
    /// Address family, by the kernel's numbers.
    pub family: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port, network order.
    pub ports: [u16; 2],
    /// Before: the length that must fit the path. After: the path's MTU.
    pub length: u16,
    /// Before: the interface by which the packet came. After: the interface by which it leaves.
    pub ifindex: u32,
    /// Traffic class of IPv4 in the first byte, class and flow label of IPv6 in network order.
    pub traffic_class: [u8; 4],
    /// The source; of IPv4 in the first word.
    pub source: [u32; 4],
    /// The destination; afterwards the next hop.
    pub next_hop: [u32; 4],
    /// VLAN protocol and tag.
    pub vlan: [u16; 2],
    /// Source and destination MAC address.
    pub macs: [u16; 6],
}
plain!(FibLookup {
    family: u8,
    protocol: u8,
    ports: [u16; 2],
    length: u16,
    ifindex: u32,
    traffic_class: [u8; 4],
    source: [u32; 4],
    next_hop: [u32; 4],
    vlan: [u16; 2],
    macs: [u16; 6]
});
