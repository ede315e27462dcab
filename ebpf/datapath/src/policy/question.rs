//! A packet as far as policies tell packets apart. Each function that reads it is one of its own, for a stack of its
//! own.

use aya_ebpf::bindings::__sk_buff;
use naru_abi::{FragmentKey, PolicyScratch, ServiceKey};
use naru_packet::{ETHERNET, Ip, Part, Payload, fragment_id, is_discovery, protocol, step, step_flags};

use crate::{
    maps::{policies, services},
    packet::Packet,
};

/// Bytes of a header up to its ports and beyond: a first fragment with less hides something (RFC 1858, 2).
const TCP_HEADER: u32 = 20;
const SHORTEST_HEADER: u32 = 8;
/// The fragment that would overwrite the flags of a TCP header (RFC 1858, 3).
const OVERWRITES: u32 = 8;

/// Kinds of packets, some of them bits.
pub struct Kind;

impl Kind {
    /// A fragment other than the first.
    pub const LATER: u32 = 1;
    /// Hides its ports.
    pub const HIDDEN: u32 = 2;
    /// Neighbour discovery, which is never judged.
    pub const NEIGHBOUR: u32 = 3;
    /// A bit: opens a connection, if there is none.
    pub const OPENS: u32 = 1 << 2;
    /// A bit: an ICMP error.
    pub const ERROR: u32 = 1 << 3;
    /// A bit: a first fragment.
    pub const FIRST: u32 = 1 << 4;
}

/// Fills in the flow of the packet, and returns its [`Kind`].
#[inline(never)]
pub fn read(skb: *mut __sk_buff, ip: &Ip, scratch: &mut PolicyScratch) -> u32 {
    let packet = &Packet::new(skb);
    let payload = Payload::of_frame(packet, ip);
    let flow = &mut scratch.flow;
    (flow.source, flow.destination) = (ip.source, ip.destination);
    (flow.source_port, flow.destination_port) = (0, 0);
    flow.protocol = payload.protocol.into();
    scratch.length = ip.length;
    if payload.part != Part::Whole {
        scratch.fragment = fragment_id(packet, ip).unwrap_or_default();
    }
    if payload.part == Part::Later {
        return if overwrites(packet, ip, payload) { Kind::HIDDEN } else { Kind::LATER };
    }
    if is_discovery(packet, ip) == Ok(true) {
        return Kind::NEIGHBOUR;
    }
    if is_short(ip, payload) {
        return Kind::HIDDEN;
    }
    (flow.source_port, flow.destination_port) = payload.ports(packet);
    let first = if payload.part == Part::First { Kind::FIRST } else { 0 };
    let kind = match payload.protocol {
        protocol::ICMP | protocol::ICMPV6 if payload.is_icmp_error(packet) => Kind::ERROR,
        protocol::TCP if step(packet, payload) & step_flags::OPENS == 0 => 0,
        _ => Kind::OPENS,
    };
    kind | first
}

/// Fills in the flow that an ICMP error is about, in the error's direction. Returns true if it is one.
#[inline(never)]
pub fn reported(skb: *mut __sk_buff, ip: &Ip, scratch: &mut PolicyScratch) -> bool {
    let packet = &Packet::new(skb);
    naru_packet::reported(packet, ip, &mut scratch.flow).is_some()
}

/// Returns true if the packet is for a Service, which the stack translates.
#[inline(never)]
pub fn is_service(scratch: &PolicyScratch) -> bool {
    let flow = &scratch.flow;
    services::may_be(&flow.destination)
        && services::contains(&ServiceKey {
            address: flow.destination,
            port: flow.destination_port,
            protocol: flow.protocol as u16,
        })
}

/// Remembers that the later fragments of the packet may pass.
#[inline(never)]
pub fn pass_fragments(scratch: &PolicyScratch) {
    policies::pass_fragments(&fragment(scratch), scratch.ifindex);
}

/// Returns true if the first fragment of the packet has passed.
#[inline(never)]
pub fn passes_fragment(scratch: &PolicyScratch) -> bool {
    policies::passes_fragment(&fragment(scratch), scratch.ifindex)
}

#[inline(always)]
fn fragment(scratch: &PolicyScratch) -> FragmentKey {
    let flow = &scratch.flow;
    FragmentKey {
        source: flow.source,
        destination: flow.destination,
        id: scratch.fragment,
        protocol: flow.protocol,
    }
}

/// Returns true for a packet of a protocol with ports that ends within its header.
#[inline(always)]
fn is_short(ip: &Ip, payload: Payload) -> bool {
    let wanted = match payload.protocol {
        protocol::TCP => TCP_HEADER,
        protocol::UDP | protocol::UDP_LITE | protocol::DCCP | protocol::SCTP => SHORTEST_HEADER,
        _ => return false,
    };
    ip.length + (ETHERNET as u32) < payload.offset as u32 + wanted
}

/// Returns true for a fragment of TCP at offset 1.
#[inline(always)]
fn overwrites(packet: &Packet, ip: &Ip, payload: Payload) -> bool {
    payload.protocol == protocol::TCP && naru_packet::fragment_offset(packet, ip) == Some(OVERWRITES)
}
