//! ARP (RFC 826) and neighbour discovery (RFC 4861), as far as a link with one pod and one gateway needs it.

use naru_abi::Addr;

use crate::{
    Bytes, ETHERNET, Family, Ip, Malformed,
    wire::{Arp, EthernetAddresses, Ipv6, LinkAddress, Mac, Neighbour, protocol},
};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Router, solicited, override.
const ANSWER_FLAGS: [u8; 4] = [0xe0, 0, 0, 0];
const DISCOVERY: usize = ETHERNET + 40;
const OPTION: usize = DISCOVERY + 24;

/// What a message says about the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discovery {
    /// `sender` asks who holds `target`; an unspecified sender probes whether it may take the address.
    Ask {
        /// Who asks.
        sender: Addr,
        /// The address asked for.
        target: Addr,
    },
    /// The sender says that it holds the address.
    Announce(Addr),
}

/// What an ARP message (`ip` is `None`) or an IPv6 packet says about the link; `None` if it is no such message.
///
/// # Errors
/// Cut short, for other kinds of addresses, or from farther away than the link.
#[inline(always)]
pub fn discovery(bytes: &impl Bytes, ip: Option<&Ip>) -> Result<Option<Discovery>, Malformed> {
    match ip {
        None => arp(bytes).map(Some),
        Some(ip) if ip.family == Family::V6 && ip.protocol == protocol::ICMPV6 => icmpv6(bytes, ip),
        Some(_) => Ok(None),
    }
}

#[inline(always)]
fn arp(bytes: &impl Bytes) -> Result<Discovery, Malformed> {
    let arp: Arp = bytes.load(ETHERNET).ok_or(Malformed)?;
    let (sender, target) = (Addr::v4(arp.sender), Addr::v4(arp.target));
    if (arp.hardware, arp.protocol, arp.lengths) != ([0, 1], [8, 0], [6, 4]) {
        return Err(Malformed);
    }
    match u16::from_be_bytes(arp.operation) {
        REQUEST if sender == target => Ok(Discovery::Announce(sender)),
        REQUEST if arp.sender == [0; 4] => Ok(Discovery::Ask { sender: Addr::UNSPECIFIED, target }),
        REQUEST => Ok(Discovery::Ask { sender, target }),
        REPLY => Ok(Discovery::Announce(sender)),
        _ => Err(Malformed),
    }
}

#[inline(always)]
fn icmpv6(bytes: &impl Bytes, ip: &Ip) -> Result<Option<Discovery>, Malformed> {
    let [kind]: [u8; 1] = bytes.load(DISCOVERY).ok_or(Malformed)?;
    if kind != SOLICITATION && kind != ADVERTISEMENT {
        return Ok(None);
    }
    let message: Neighbour = bytes.load(DISCOVERY).ok_or(Malformed)?;
    if ip.hops != 255 || message.code != 0 {
        return Err(Malformed);
    }
    let target = Addr::v6(message.target);
    Ok(Some(match kind {
        SOLICITATION => Discovery::Ask { sender: ip.source, target },
        _ => Discovery::Announce(target),
    }))
}

/// Turns a question for `target` into its answer in place: `mac` holds it.
///
/// # Errors
/// Cut short, or options in the way. A question without the asker's link address is answered without ours.
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
    let question: Arp = bytes.load(ETHERNET).ok_or(Malformed)?;
    let answer = Arp {
        operation: REPLY.to_be_bytes(),
        sender_mac: mac,
        sender: question.target,
        target_mac: question.sender_mac,
        target: question.sender,
        ..question
    };
    bytes.store(ETHERNET, answer).ok_or(Malformed)
}

#[inline(always)]
fn answer_icmpv6(bytes: &mut impl Bytes, ip: &Ip, mac: Mac) -> Result<(), Malformed> {
    let header: Ipv6 = bytes.load(ETHERNET).ok_or(Malformed)?;
    let question: Neighbour = bytes.load(DISCOVERY).ok_or(Malformed)?;
    let with_option = match ip.length {
        72 => true,
        64 => false,
        _ => return Err(Malformed),
    };
    let header = Ipv6 { source: question.target, destination: header.source, hop_limit: 255, ..header };
    let mut message = Neighbour {
        kind: ADVERTISEMENT,
        code: 0,
        checksum: [0; 2],
        flags: ANSWER_FLAGS,
        target: question.target,
    };
    let option = LinkAddress { kind: TARGET_LINK_ADDRESS, length: 1, mac };
    message.checksum = checksum(&header, &message, with_option.then_some(&option));
    if with_option {
        let asked: LinkAddress = bytes.load(OPTION).ok_or(Malformed)?;
        if asked.kind != SOURCE_LINK_ADDRESS || asked.length != 1 {
            return Err(Malformed);
        }
        bytes.store(OPTION, option).ok_or(Malformed)?;
    }
    bytes.store(DISCOVERY, message).ok_or(Malformed)?;
    bytes.store(ETHERNET, header).ok_or(Malformed)
}

/// The ICMPv6 checksum of such a message (RFC 4443, 2.3), whose own checksum field is zero.
#[inline(always)]
fn checksum(header: &Ipv6, message: &Neighbour, option: Option<&LinkAddress>) -> [u8; 2] {
    let word = |high: u8, low: u8| u32::from(u16::from_be_bytes([high, low]));
    let addresses = sum(&header.source) + sum(&header.destination) + sum(&message.target);
    let head = word(message.kind, message.code) + sum(&message.flags) + u32::from(protocol::ICMPV6);
    let (length, option) = match option {
        Some(option) => (32, word(option.kind, option.length) + sum(&option.mac)),
        None => (24, 0),
    };
    let total = addresses + head + option + length;
    let folded = (total & 0xffff) + (total >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!(folded as u16)).to_be_bytes()
}

/// Sum of the 16-bit words of an even number of bytes; the last of an odd number is not seen.
#[inline(always)]
fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut words = bytes.chunks_exact(2);
    while let Some([high, low]) = words.next() {
        sum += u32::from(u16::from_be_bytes([*high, *low]));
    }
    sum
}
