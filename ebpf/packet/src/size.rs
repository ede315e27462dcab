use crate::{Bytes, ETHERNET, Ip, wire::protocol};

/// Returns the size in bytes of the largest packet in this frame, from its IP header on: this must fit the path MTU.
///
/// For segments these are the L3 and L4 headers and the payload of one segment. If the length of the L4 header is
/// unknown, it is the largest number, so that the packet goes to the stack, which can tell.
#[inline(always)]
pub fn packet_size(bytes: &impl Bytes, ip: &Ip) -> u32 {
    match bytes.gso_size() {
        0 => ip.length,
        segment => segment_size(bytes, ip, segment),
    }
}

#[inline(always)]
fn segment_size(bytes: &impl Bytes, ip: &Ip, segment: u32) -> u32 {
    let l4 = match ip.protocol {
        protocol::TCP => tcp_header(bytes, ip),
        protocol::UDP => Some(8),
        _ => None,
    };
    match l4 {
        Some(l4) => u32::from(ip.payload) - ETHERNET as u32 + l4 + segment,
        None => u32::MAX,
    }
}

#[inline(always)]
fn tcp_header(bytes: &impl Bytes, ip: &Ip) -> Option<u32> {
    let [data_offset] = bytes.load(usize::from(ip.payload) + 12)?;
    Some(u32::from(data_offset >> 4) * 4)
}
