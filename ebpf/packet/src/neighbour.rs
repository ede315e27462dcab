//! ARP (RFC 826) and neighbour discovery (RFC 4861), as far as a link with one pod and one gateway needs it.

use naru_abi::Addr;

use crate::{
    Bytes, ETHERNET, Family, Ip, Malformed,
    wire::{EthernetAddresses, Mac, protocol},
};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Kind, code, no checksum yet, flags: router, solicited, override.
const ANSWER: [u8; 8] = [ADVERTISEMENT, 0, 0, 0, 0xe0, 0, 0, 0];
/// Offset of the sender's addresses in an ARP message, after those of the hardware.
const ARP_SENDER: usize = ETHERNET + 14;
const ARP_TARGET: usize = ETHERNET + 24;
const HOP_LIMIT: usize = ETHERNET + 7;
const SOURCE: usize = ETHERNET + 8;
const DESTINATION: usize = ETHERNET + 24;
const DISCOVERY: usize = ETHERNET + 40;
const CHECKSUM: usize = DISCOVERY + 2;
const TARGET: usize = DISCOVERY + 8;
const OPTION: usize = DISCOVERY + 24;
const WITH_OPTION: usize = OPTION + 8;

/// A neighbour discovery or ARP message: `own` asks who holds `asked`. Where both are the same address, the sender
/// announces that it holds the address, or probes, without an address of its own, whether it may take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discovery {
    /// The address of the sender, which the message announces.
    pub own: Addr,
    /// The address asked for.
    pub asked: Addr,
}

impl Discovery {
    /// An empty value, to be filled.
    pub const NONE: Self = Self { own: Addr::UNSPECIFIED, asked: Addr::UNSPECIFIED };
}

/// Reads an ARP message (`ip` is `None`) or an IPv6 neighbour discovery message into `said`: a program has little room
/// for copies.
///
/// # Errors
/// The message is cut short, is about other kinds of addresses, or comes from beyond the link.
#[inline(always)]
pub fn discovery(bytes: &impl Bytes, ip: Option<&Ip>, said: &mut Discovery) -> Result<(), Malformed> {
    match ip {
        None => arp(bytes, said),
        Some(ip) => icmpv6(bytes, ip, said),
    }
}

/// Returns true if this IP packet is a neighbour solicitation or advertisement.
///
/// # Errors
/// ICMPv6 without a header.
#[inline(always)]
pub fn is_discovery(bytes: &impl Bytes, ip: &Ip) -> Result<bool, Malformed> {
    if ip.family == Family::V4 || ip.protocol != protocol::ICMPV6 {
        return Ok(false);
    }
    let [kind]: [u8; 1] = bytes.load(DISCOVERY).ok_or(Malformed)?;
    Ok(kind == SOLICITATION || kind == ADVERTISEMENT)
}

#[inline(always)]
fn arp(bytes: &impl Bytes, said: &mut Discovery) -> Result<(), Malformed> {
    let head: [u8; 8] = bytes.load(ETHERNET).ok_or(Malformed)?;
    let [0, 1, 8, 0, 6, 4, high, low] = head else { return Err(Malformed) };
    let operation = u16::from_be_bytes([high, low]);
    let sender: [u8; 4] = bytes.load(ARP_SENDER).ok_or(Malformed)?;
    let target: [u8; 4] = bytes.load(ARP_TARGET).ok_or(Malformed)?;
    if operation != REQUEST && operation != REPLY {
        return Err(Malformed);
    }
    said.own = Addr::v4(if operation == REQUEST && sender == [0; 4] { target } else { sender });
    said.asked = Addr::v4(if operation == REQUEST { target } else { sender });
    Ok(())
}

#[inline(always)]
fn icmpv6(bytes: &impl Bytes, ip: &Ip, said: &mut Discovery) -> Result<(), Malformed> {
    let [kind, code]: [u8; 2] = bytes.load(DISCOVERY).ok_or(Malformed)?;
    let is_known = kind == SOLICITATION || kind == ADVERTISEMENT;
    if !is_known || ip.ttl != 255 || code != 0 {
        return Err(Malformed);
    }
    said.asked = Addr::v6(bytes.load(TARGET).ok_or(Malformed)?);
    let asks = kind == SOLICITATION && !ip.source.is_unspecified();
    said.own = if asks { ip.source } else { said.asked };
    Ok(())
}

/// Turns a question for `target` into its answer in place, which says that `mac` holds it.
///
/// # Errors
/// The message is cut short, or options are in the way. A question without the asker's link address is answered without
/// ours.
#[inline(always)]
pub fn answer(bytes: &mut impl Bytes, ip: Option<&Ip>, mac: Mac) -> Result<(), Malformed> {
    let EthernetAddresses { source: asker, .. } = bytes.load(0).ok_or(Malformed)?;
    match ip {
        None => answer_arp(bytes, mac),
        Some(ip) => answer_icmpv6(bytes, ip, mac),
    }?;
    bytes.store(0, EthernetAddresses { destination: asker, source: mac }).ok_or(Malformed)
}

#[inline(always)]
fn answer_arp(bytes: &mut impl Bytes, mac: Mac) -> Result<(), Malformed> {
    let asker: [u8; 10] = bytes.load(ARP_SENDER - 6).ok_or(Malformed)?;
    let target: [u8; 4] = bytes.load(ARP_TARGET).ok_or(Malformed)?;
    bytes.store(ARP_TARGET - 6, asker).ok_or(Malformed)?;
    bytes.store(ARP_SENDER, target).ok_or(Malformed)?;
    bytes.store(ARP_SENDER - 6, mac).ok_or(Malformed)?;
    bytes.store(ARP_SENDER - 8, REPLY.to_be_bytes()).ok_or(Malformed)
}

/// Writes field by field: a program has no room for two headers. The checksum is the question's, changed by the
/// differences of the answer (RFC 1624), so that a wrong question gets a wrong answer.
#[inline(always)]
fn answer_icmpv6(bytes: &mut impl Bytes, ip: &Ip, mac: Mac) -> Result<(), Malformed> {
    let [kind, code, high, low, a, b, c, d] = bytes.load(DISCOVERY).ok_or(Malformed)?;
    let target: [u8; 16] = bytes.load(TARGET).ok_or(Malformed)?;
    let mut sum = u32::from(!u16::from_be_bytes([high, low]));
    sum += without(&[kind, code, a, b, c, d]) + words(&ANSWER);
    sum += without(&ip.destination.octets) + words(&target);
    match ETHERNET + ip.length as usize {
        OPTION => {}
        WITH_OPTION => {
            let asker: [u8; 8] = bytes.load(OPTION).ok_or(Malformed)?;
            if asker[0] != SOURCE_LINK_ADDRESS || asker[1] != 1 {
                return Err(Malformed);
            }
            let [a, b, c, d, e, f] = mac;
            let own = [TARGET_LINK_ADDRESS, 1, a, b, c, d, e, f];
            sum += without(&asker) + words(&own);
            bytes.store(OPTION, own).ok_or(Malformed)?;
        }
        _ => return Err(Malformed),
    }
    bytes.store(DESTINATION, ip.source.octets).ok_or(Malformed)?;
    bytes.store(SOURCE, target).ok_or(Malformed)?;
    bytes.store(HOP_LIMIT, [255]).ok_or(Malformed)?;
    bytes.store(DISCOVERY, ANSWER).ok_or(Malformed)?;
    bytes.store(CHECKSUM, folded(sum)).ok_or(Malformed)
}

#[inline(always)]
fn folded(sum: u32) -> [u8; 2] {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_be_bytes()
}

/// Returns the sum of the 16-bit words of an even number of bytes; the last byte of an odd number is ignored.
#[inline(always)]
fn words<const N: usize>(bytes: &[u8; N]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum()
}

/// Returns the sum that takes these words out of a checksum.
#[inline(always)]
fn without<const N: usize>(bytes: &[u8; N]) -> u32 {
    (N as u32 / 2) * 0xffff - words(bytes)
}
