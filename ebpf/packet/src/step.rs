//! Effect of a packet on the state of its flow, as far as its headers tell.

use naru_abi::flow_state;

use crate::{
    Bytes, ETHERNET, Family, Ip, Payload,
    flow::{BEHIND_V4, BEHIND_V6},
    wire::protocol,
};

/// Bits of [`step`] beside [`flow_state::FINISHED`] and [`flow_state::RESET`].
pub mod step_flags {
    /// A flow may begin with it: a SYN, an INIT, any datagram.
    pub const OPENS: u32 = 1 << 31;
    /// A flow's first answer may be it: a SYN-ACK, an INIT ACK, any datagram, and what ends the flow.
    pub const ACCEPTS: u32 = 1 << 30;
}
use step_flags::{ACCEPTS, OPENS};

/// Flags of a TCP header, the fourteenth byte of it.
const TCP_FLAGS: usize = 13;
const FIN: u8 = 1;
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const ACK: u8 = 1 << 4;

/// The first chunk of SCTP, and its types (RFC 9260, 3.2).
const CHUNK: usize = 12;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const SHUTDOWN_COMPLETE: u8 = 14;

/// Returns the effect of a whole packet, or of a first fragment, on its flow: bits of [`step_flags`] and
/// [`flow_state`]. A header that cannot be read has none.
#[inline(always)]
#[must_use]
pub fn step(bytes: &impl Bytes, payload: Payload) -> u32 {
    match payload.protocol {
        protocol::TCP => of_tcp(byte::<TCP_FLAGS>(bytes, payload.offset)),
        protocol::SCTP => of_sctp(byte::<CHUNK>(bytes, payload.offset)),
        _ => OPENS | ACCEPTS,
    }
}

/// The byte at `AT` of a header that begins at `offset`; 0 where there is none.
#[inline(always)]
fn byte<const AT: usize>(bytes: &impl Bytes, offset: usize) -> u8 {
    let in_place: Option<[u8; 1]> = match offset {
        BEHIND_V4 => bytes.read(BEHIND_V4 + AT),
        BEHIND_V6 => bytes.read(BEHIND_V6 + AT),
        _ => None,
    };
    in_place.or_else(|| bytes.load(offset + AT)).map_or(0, |[byte]| byte)
}

#[inline(always)]
const fn of_tcp(flags: u8) -> u32 {
    let begins = match flags & (SYN | ACK) {
        SYN => OPENS,
        both if both == SYN | ACK => ACCEPTS,
        _ => 0,
    };
    let finished = if flags & FIN == 0 { 0 } else { flow_state::FINISHED };
    let reset = if flags & RST == 0 { 0 } else { flow_state::RESET | ACCEPTS };
    begins | finished | reset
}

#[inline(always)]
const fn of_sctp(chunk: u8) -> u32 {
    match chunk {
        INIT => OPENS,
        INIT_ACK => ACCEPTS,
        SHUTDOWN | SHUTDOWN_ACK => flow_state::FINISHED,
        ABORT | SHUTDOWN_COMPLETE => flow_state::RESET | ACCEPTS,
        _ => 0,
    }
}

/// The number that the fragments of one packet share; `None` if it cannot be read.
#[inline(always)]
#[must_use]
pub fn fragment_id(bytes: &impl Bytes, ip: &Ip) -> Option<u32> {
    match ip.family {
        Family::V4 => bytes.read(ETHERNET + 4).map(|id: [u8; 2]| u16::from_be_bytes(id).into()),
        Family::V6 => bytes.load(usize::from(ip.payload) + 4).map(u32::from_be_bytes),
    }
}

/// The offset of a fragment in the payload that was sent, in bytes; `None` if it cannot be read.
#[inline(always)]
#[must_use]
pub fn fragment_offset(bytes: &impl Bytes, ip: &Ip) -> Option<u32> {
    match ip.family {
        Family::V4 => {
            let field: [u8; 2] = bytes.read(ETHERNET + 6)?;
            Some(u32::from(u16::from_be_bytes(field) & 0x1fff) * 8)
        }
        Family::V6 => {
            bytes.load(usize::from(ip.payload) + 2).map(|field| (u16::from_be_bytes(field) & 0xfff8).into())
        }
    }
}
