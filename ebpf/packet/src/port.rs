use naru_abi::Addr;

use crate::{Bytes, Ip, Malformed, wire::protocol};

/// Extension headers that are followed; more than any sender stacks up (RFC 8504, 5.3 lets a host refuse over eight).
const EXTENSIONS: usize = 8;

/// The UDP destination port of a packet, `None` for another protocol or a fragment without the L4 header.
///
/// Looks behind IPv4 options and IPv6 extension and fragment headers, so that nothing hides a port.
///
/// # Errors
/// The chain of headers is cut short, or too long to be followed.
#[inline(always)]
pub fn udp_port(bytes: &impl Bytes, ip: &Ip) -> Result<Option<u16>, Malformed> {
    if ip.later_fragment {
        return Ok(None);
    }
    let (mut next, mut offset) = (ip.protocol, usize::from(ip.payload));
    for _ in 0..EXTENSIONS {
        match after(bytes, next, offset)? {
            Step::Port(port) => return Ok(Some(port)),
            Step::None => return Ok(None),
            Step::Header { kind, length } => {
                next = kind;
                offset += length;
            }
        }
    }
    Err(Malformed)
}

/// Returns true if this is the broadcast of a DHCP client that has no address yet (RFC 2131, 4.1): from 0.0.0.0, port
/// 68, to 255.255.255.255, port 67.
#[inline(always)]
#[must_use]
pub fn is_dhcp_request(bytes: &impl Bytes, ip: &Ip) -> bool {
    let is_broadcast = ip.source == Addr::v4([0; 4]) && ip.destination == Addr::v4([255; 4]);
    let is_plain = ip.protocol == protocol::UDP && !ip.later_fragment;
    is_broadcast && is_plain && bytes.load(ip.payload.into()) == Some([0, 68, 0, 67])
}

enum Step {
    Port(u16),
    None,
    Header { kind: u8, length: usize },
}

/// Reads the header with protocol number `next` at `offset`.
#[inline(always)]
fn after(bytes: &impl Bytes, next: u8, offset: usize) -> Result<Step, Malformed> {
    match next {
        protocol::UDP => {
            let port: [u8; 2] = bytes.load(offset + 2).ok_or(Malformed)?;
            Ok(Step::Port(u16::from_be_bytes(port)))
        }
        protocol::FRAGMENT => {
            let [kind, _, high, low]: [u8; 4] = bytes.load(offset).ok_or(Malformed)?;
            let is_first = u16::from_be_bytes([high, low]) & 0xfff8 == 0;
            Ok(if is_first { Step::Header { kind, length: 8 } } else { Step::None })
        }
        protocol::AUTHENTICATION => {
            let [kind, length]: [u8; 2] = bytes.load(offset).ok_or(Malformed)?;
            Ok(Step::Header { kind, length: (usize::from(length) + 2) * 4 })
        }
        protocol::HOP_BY_HOP
        | protocol::ROUTING
        | protocol::DESTINATION
        | protocol::MOBILITY
        | protocol::HIP
        | protocol::SHIM6 => {
            let [kind, length]: [u8; 2] = bytes.load(offset).ok_or(Malformed)?;
            Ok(Step::Header { kind, length: (usize::from(length) + 1) * 8 })
        }
        _ => Ok(Step::None),
    }
}
