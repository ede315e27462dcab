//! Packets out of an uplink: where the kernel would send them, and there they go.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, bpf_redir_neigh,
    },
    helpers,
};
use naru_abi::{Addr, WayValue};

/// Of `bpf_fib_lookup` (6.3), by number: bindings older than the kernel do not have it.
const BPF_FIB_LOOKUP_SKIP_NEIGH: u32 = 4;
/// Address families of this kernel interface.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `struct bpf_fib_lookup` (`include/uapi/linux/bpf.h`), its unions as what they are used for here.
#[repr(C)]
pub struct Lookup {
    family: u8,
    protocol: u8,
    ports: [u16; 2],
    /// The length that must fit the path; afterwards the path's MTU.
    length: u16,
    /// The interface the packet came by; afterwards that by which it leaves.
    ifindex: u32,
    /// Traffic class of IPv4 in the first byte, class and flow label of IPv6 in network order.
    class: [u8; 4],
    source: [u32; 4],
    /// The destination; afterwards the next hop.
    destination: [u32; 4],
    vlan: [u16; 2],
    macs: [u16; 6],
}

const LOOKUP_SIZE: i32 = size_of::<Lookup>() as i32;
const _: () = assert!(size_of::<Lookup>() == size_of::<bpf_fib_lookup>());

/// `struct bpf_redir_neigh`.
#[repr(C)]
struct NextHop {
    family: u32,
    address: [u32; 4],
}

const NEXT_HOP_SIZE: i32 = size_of::<NextHop>() as i32;
const _: () = assert!(size_of::<NextHop>() == size_of::<bpf_redir_neigh>());

impl Lookup {
    /// The way from one address to another of the same family, for a packet of `length` bytes that came by `ifindex`.
    #[inline(always)]
    pub fn new(ends: (&Addr, &Addr), protocol: u8, class: u8, length: u32, ifindex: u32) -> Self {
        let (family, source, destination, class) = match (ends.0.as_v4(), ends.1.as_v4()) {
            (Some(source), Some(destination)) => {
                (AF_INET, first(source), first(destination), [class, 0, 0, 0])
            }
            _ => (AF_INET6, ends.0.words(), ends.1.words(), [class >> 4, class << 4, 0, 0]),
        };
        let length = if length > u32::from(u16::MAX) { u16::MAX } else { length as u16 };
        Self {
            family,
            protocol,
            ports: [0; 2],
            length,
            ifindex,
            class,
            source,
            destination,
            vlan: [0; 2],
            macs: [0; 6],
        }
    }

    /// Asks the kernel, and answers whether it forwards such a packet. A next hop whose MAC address is not known is one:
    /// the kernel asks for it.
    #[inline(always)]
    pub fn leads_on(&mut self, skb: *mut __sk_buff) -> bool {
        self.found(skb, 0)
    }

    /// The same for kernels from 6.3 on, which then do not look for the neighbour and always tell the path's MTU.
    #[inline(always)]
    pub fn leads_far(&mut self, skb: *mut __sk_buff) -> bool {
        self.found(skb, BPF_FIB_LOOKUP_SKIP_NEIGH)
    }

    #[inline(always)]
    fn found(&mut self, skb: *mut __sk_buff, flags: u32) -> bool {
        let lookup = core::ptr::from_mut(self).cast::<bpf_fib_lookup>();
        // SAFETY: the helper reads and writes no more than the size it is told.
        let found = unsafe { helpers::bpf_fib_lookup(skb.cast(), lookup, LOOKUP_SIZE, flags) };
        found == i64::from(BPF_FIB_LKUP_RET_SUCCESS) || found == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH)
    }

    /// Writes down what was found; the path's MTU where a length was asked for.
    #[inline(always)]
    pub fn note(&self, way: &mut WayValue) {
        (way.family, way.ifindex, way.mtu) = (self.family.into(), self.ifindex, self.length.into());
        way.hop = Addr::from_words(self.destination);
    }
}

/// Sends the packet out of an uplink to a next hop, by its neighbour entry: with the MAC address that is current when it
/// leaves, asked for where it is not known and confirmed where it is old. Returns the TC action.
#[inline(always)]
pub fn send(way: &WayValue) -> i32 {
    let mut hop = NextHop { family: way.family.into(), address: way.hop.words() };
    let hop = core::ptr::from_mut(&mut hop).cast::<bpf_redir_neigh>();
    // SAFETY: the helper only notes where the packet goes, and reads no more than the size it is told.
    unsafe { helpers::bpf_redirect_neigh(way.ifindex, hop, NEXT_HOP_SIZE, 0) as i32 }
}

#[inline(always)]
fn first(v4: [u8; 4]) -> [u32; 4] {
    [u32::from_ne_bytes(v4), 0, 0, 0]
}
