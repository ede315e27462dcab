//! Reading, judging and rewriting packets, over any source of bytes: a socket buffer in the kernel, a slice in a test.
//!
//! The families part only in [`parse`] and [`rewrite`]; what comes out of `parse` is one [`Ip`] for both.
#![no_std]

#[cfg(test)]
extern crate std;

mod bytes;
mod flow;
mod link;
mod nat;
mod neighbour;
mod parse;
mod port;
mod quote;
mod rewrite;
mod scope;
mod size;
mod step;
mod vxlan;
mod wire;

pub use bytes::{Bytes, Frame};
pub use flow::{Part, Payload, answered, answering, forwarding_ports, reported};
pub use link::{LinkMessage, link_message};
pub use nat::{
    Checksums, End, Translation, has_translatable_ports, translate, translate_error, translate_quote,
};
pub use neighbour::{Discovery, answer, discovery, is_discovery};
pub use parse::{Content, ETHERTYPE, Family, Ip, Parsed, ethertype, parse, parse_into};
pub use port::{is_dhcp_request, udp_port};
pub use quote::{shorten_error, shortest_error};
pub use rewrite::{Macs, decrement_ttl, forward, readdress};
pub use scope::{is_link_local, is_link_multicast, is_multicast};
pub use size::packet_size;
pub use step::{fragment_id, fragment_offset, step, step_flags};
pub use vxlan::{
    OUTER_TTL, Outer, VxlanHeader, outer_traffic_class, tunnel_overhead, vxlan_header, write_outer,
};
pub use wire::{ETHERNET, Mac, Wire, protocol};

/// Headers are cut short or contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;
