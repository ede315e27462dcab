//! The kernel's routing look-up, and sending to the next hop that it names.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup, bpf_redir_neigh,
    },
    helpers,
};
use naru_abi::{Addr, FibLookup, NextHopValue};

/// Flag of `bpf_fib_lookup` (6.3), by number, as bindings of older kernels lack it. The neighbour is not looked up, and
/// the path's MTU is always returned.
pub const SKIP_NEIGH: u32 = 4;
/// Address families of this kernel interface.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const LOOKUP_SIZE: i32 = size_of::<FibLookup>() as i32;
const _: () = assert!(size_of::<FibLookup>() == size_of::<bpf_fib_lookup>());

/// `struct bpf_redir_neigh`: a next hop by its address.
#[repr(C)]
#[derive(Clone, Copy)]
struct Neighbour {
    family: u32,
    address: [u32; 4],
}

const NEIGHBOUR_SIZE: i32 = size_of::<Neighbour>() as i32;
const _: () = assert!(size_of::<Neighbour>() == size_of::<bpf_redir_neigh>());

/// The next hop of a packet on the underlay.
#[derive(Clone, Copy)]
pub struct NextHop {
    ifindex: u32,
    neighbour: Neighbour,
}

impl NextHop {
    /// Nowhere.
    pub const NONE: Self = Self { ifindex: 0, neighbour: Neighbour { family: 0, address: [0; 4] } };

    /// Takes the next hop from an answer. In place, as the compiler would keep a copy word by word, each in eight bytes
    /// of stack.
    #[inline(always)]
    pub fn fill(&mut self, place: &NextHopValue) {
        let FibLookup { ifindex, family, next_hop, .. } = &place.lookup;
        self.ifindex = *ifindex;
        self.neighbour.family = (*family).into();
        self.neighbour.address = *next_hop;
    }

    /// Sends the packet by the next hop's neighbour entry, with the MAC address that is current when it leaves; the
    /// kernel resolves one that is unknown and confirms one that is old. Returns the TC action.
    #[inline(always)]
    pub fn send(&mut self) -> i32 {
        let neighbour = core::ptr::from_mut(&mut self.neighbour).cast::<bpf_redir_neigh>();
        // SAFETY: the helper only notes where the packet goes, and reads no more than the size it is told.
        unsafe { helpers::bpf_redirect_neigh(self.ifindex, neighbour, NEIGHBOUR_SIZE, 0) as i32 }
    }
}

/// The result of [`ask`].
pub enum Answer {
    /// There is no next hop, or the packet does not fit the path.
    Unknown,
    /// The next hop is known but its neighbour is not, and the kernel resolves it now: the packet fits the path, but
    /// the path's MTU is not known.
    KnownOnce,
    /// All is known.
    Known,
}

/// Asks the kernel for the route of packets of `length` bytes with the addresses of `place` that came by `ifindex`. The
/// answer is written into `place`.
#[inline(always)]
pub fn ask(skb: *mut __sk_buff, place: &mut NextHopValue, length: u32, ifindex: u32, flags: u32) -> Answer {
    let [traffic_class, protocol, ..] = place.selector.to_le_bytes();
    let is_v4 = place.source.is_v4();
    let lookup = &mut place.lookup;
    lookup.family = if is_v4 { AF_INET } else { AF_INET6 };
    lookup.protocol = protocol;
    lookup.ports = place.ports.map(u16::to_be);
    lookup.length = if length > u32::from(u16::MAX) { u16::MAX } else { length as u16 };
    lookup.ifindex = ifindex;
    lookup.traffic_class = match is_v4 {
        true => [traffic_class, 0, 0, 0],
        false => [traffic_class >> 4, traffic_class << 4, 0, 0],
    };
    lookup.source = words(&place.source, is_v4);
    lookup.next_hop = words(&place.destination, is_v4);
    // SAFETY: the helper reads and writes no more than the size it is told.
    let found = unsafe {
        let lookup = core::ptr::from_mut(lookup).cast::<bpf_fib_lookup>();
        helpers::bpf_fib_lookup(skb.cast(), lookup, LOOKUP_SIZE, flags)
    };
    match found {
        _ if found == i64::from(BPF_FIB_LKUP_RET_SUCCESS) => Answer::Known,
        _ if found == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH) => Answer::KnownOnce,
        _ => Answer::Unknown,
    }
}

/// Returns true if packets with this destination that come by `ifindex` are for this node itself, by its routes.
#[inline(always)]
pub fn is_local(skb: *mut __sk_buff, ifindex: u32, source: &Addr, destination: &Addr) -> bool {
    let is_v4 = destination.is_v4();
    let mut lookup = FibLookup {
        family: if is_v4 { AF_INET } else { AF_INET6 },
        protocol: 0,
        ports: [0; 2],
        length: 0,
        ifindex,
        traffic_class: [0; 4],
        source: words(source, is_v4),
        next_hop: words(destination, is_v4),
        vlan: [0; 2],
        macs: [0; 6],
    };
    // SAFETY: the helper reads and writes no more than the size it is told.
    let found = unsafe {
        let lookup = core::ptr::from_mut(&mut lookup).cast::<bpf_fib_lookup>();
        helpers::bpf_fib_lookup(skb.cast(), lookup, LOOKUP_SIZE, 0)
    };
    found == i64::from(BPF_FIB_LKUP_RET_NOT_FWDED)
}

/// Returns the address as this kernel interface expects it: an IPv4 address in the first word.
#[inline(always)]
fn words(addr: &Addr, is_v4: bool) -> [u32; 4] {
    let [first, second, third, last] = *addr.as_words();
    if is_v4 { [last, 0, 0, 0] } else { [first, second, third, last] }
}
