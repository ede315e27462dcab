//! Frames for the table, in either family.

use std::net::IpAddr;

use naru_e2e::wire::{
    checksum::{internet, pseudo_header},
    ethernet, ip,
};

pub type Mac = [u8; 6];

/// An IP packet to be varied before it is framed.
#[derive(Clone)]
pub struct Packet {
    pub destination_mac: Mac,
    pub source_mac: Mac,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hops: u8,
    pub protocol: u8,
    pub payload: Vec<u8>,
    /// IPv4 options, or IPv6 extension headers of the type given.
    pub extension: Option<Vec<u8>>,
    /// Offset in bytes of an IPv4 fragment, or the same in an IPv6 fragment header.
    pub fragment: Option<u16>,
}

impl Packet {
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    pub fn to(mut self, destination: IpAddr) -> Self {
        self.destination = destination;
        self
    }

    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = source;
        self
    }

    pub fn source_mac(mut self, mac: Mac) -> Self {
        self.source_mac = mac;
        self
    }

    pub fn udp(self, port: u16) -> Self {
        self.ports(12345, port)
    }

    pub fn ports(self, source: u16, destination: u16) -> Self {
        let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        self.carrying(ip::UDP, [&ports[..], &[0, 12, 0, 0], b"naru"].concat())
    }

    /// Fills in the UDP checksum, now that the addresses are known.
    pub fn checked(mut self) -> Self {
        self.payload[6..8].fill(0);
        let pseudo = pseudo_header(self.source, self.destination, ip::UDP, self.payload.len());
        let sum = internet(&[&pseudo, &self.payload]).to_be_bytes();
        self.payload[6..8].copy_from_slice(&sum);
        self
    }

    /// A TCP header without options, and `length` bytes.
    pub fn tcp(self, length: usize) -> Self {
        let mut payload = vec![0; 20 + length];
        payload[12] = 5 << 4;
        self.carrying(6, payload)
    }

    /// An ICMP error that quotes `about` as far as `length` bytes of its payload: too big.
    pub fn reporting(self, about: &Self, length: usize) -> Self {
        let kind = if self.source.is_ipv4() { [3, 4] } else { [2, 0] };
        self.reporting_as(kind, [0, 0, 5, 0], about, length)
    }

    /// The same with this type and code, and these four bytes behind the checksum.
    pub fn reporting_as(self, kind: [u8; 2], rest: [u8; 4], about: &Self, length: usize) -> Self {
        let quote = &about.frame()[14..];
        let header = quote.len() - about.payload.len();
        let quote = &quote[..quote.len().min(header + length)];
        let protocol = if self.source.is_ipv4() { 1 } else { ip::ICMPV6 };
        let mut message = [&kind[..], &[0, 0], &rest, quote].concat();
        let pseudo = match self.source {
            IpAddr::V4(_) => Vec::new(),
            IpAddr::V6(_) => pseudo_header(self.source, self.destination, protocol, message.len()),
        };
        let sum = internet(&[&pseudo, &message]).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        self.carrying(protocol, message)
    }

    pub fn carrying(mut self, protocol: u8, payload: Vec<u8>) -> Self {
        self.protocol = protocol;
        self.payload = payload;
        self
    }

    /// The same payload in the name of another protocol.
    pub fn carrying_as(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// Makes the packet `length` bytes long from its IP header on.
    pub fn sized(mut self, length: usize) -> Self {
        let header = if self.source.is_ipv4() { 20 } else { 40 };
        self.payload.resize(length - header, 0);
        self
    }

    /// A record-route option, or a destination options header of eight bytes.
    pub fn extended(mut self) -> Self {
        self.extension = Some(if self.source.is_ipv4() {
            vec![7, 3, 4, 0]
        } else {
            vec![self.protocol, 0, 1, 4, 0, 0, 0, 0]
        });
        self
    }

    /// The same as [`Self::extended`] of IPv4, and of IPv6 the packet as it is.
    pub fn extended_v4(self) -> Self {
        if self.source.is_ipv4() { self.extended() } else { self }
    }

    pub fn fragment(mut self, offset: u16) -> Self {
        self.fragment = Some(offset);
        self
    }

    pub fn frame(&self) -> Vec<u8> {
        let packet = match self.source {
            IpAddr::V4(_) => self.v4(),
            IpAddr::V6(_) => self.v6(),
        };
        ethernet::frame(self.destination_mac, self.source_mac, ethernet::ethertype(&packet), &packet)
    }

    fn v4(&self) -> Vec<u8> {
        let options = self.extension.clone().unwrap_or_default();
        let mut packet = ip::packet(self.source, self.destination, self.protocol, &self.payload);
        packet.splice(20..20, options.iter().copied());
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        packet[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
        packet[2..4].copy_from_slice(&length);
        if let Some(offset) = self.fragment {
            packet[6..8].copy_from_slice(&(0x2000 | (offset / 8)).to_be_bytes());
        }
        packet[8] = self.hops;
        fix_checksum(&mut packet);
        packet
    }

    fn v6(&self) -> Vec<u8> {
        let mut payload = self.payload.clone();
        let mut next = self.protocol;
        if let Some(extension) = &self.extension {
            payload.splice(0..0, extension.iter().copied());
            next = 60;
        }
        if let Some(offset) = self.fragment {
            let [high, low] = (offset | 1).to_be_bytes();
            payload.splice(0..0, [next, 0, high, low, 0, 0, 0, 9]);
            next = 44;
        }
        let mut packet = ip::packet(self.source, self.destination, next, &payload);
        packet[7] = self.hops;
        packet
    }
}

/// Fills in the checksum of an IPv4 header.
pub fn fix_checksum(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = internet(&[&packet[..header]]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
}

/// Returns `frame` as a router forwards it.
pub fn forwarded(frame: &[u8], destination: Mac, source: Mac) -> Vec<u8> {
    let mut out = frame.to_vec();
    out[0..6].copy_from_slice(&destination);
    out[6..12].copy_from_slice(&source);
    if out[12..14] == [0x08, 0x00] {
        out[14 + 8] -= 1;
        fix_checksum(&mut out[14..]);
    } else {
        out[14 + 7] -= 1;
    }
    out
}

/// An ARP message.
pub fn arp(operation: u8, mac: Mac, sender: IpAddr, target_mac: Mac, target: IpAddr) -> Vec<u8> {
    let (IpAddr::V4(sender), IpAddr::V4(target)) = (sender, target) else { panic!("ARP is for IPv4") };
    let (sender, target) = (sender.octets(), target.octets());
    let body = [&[0, 1, 8, 0, 6, 4, 0, operation][..], &mac, &sender, &target_mac, &target].concat();
    let destination = if target_mac == [0; 6] { [0xff; 6] } else { target_mac };
    ethernet::frame(destination, mac, ethernet::ARP, &body)
}

/// A neighbour solicitation (135) or advertisement (136) with its link address option.
pub fn discovery(kind: u8, macs: (Mac, Mac), source: IpAddr, destination: IpAddr, target: IpAddr) -> Vec<u8> {
    let IpAddr::V6(target) = target else { panic!("neighbour discovery is for IPv6") };
    let flags = if kind == 136 { 0xe0 } else { 0 };
    let option = [kind - 134, 1];
    let mut message =
        [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), &option, macs.1.as_slice()].concat();
    let sum = internet(&[&pseudo_header(source, destination, ip::ICMPV6, message.len()), &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ip::packet(source, destination, ip::ICMPV6, &message);
    packet[7] = 255;
    ethernet::frame(macs.0, macs.1, ethernet::IPV6, &packet)
}
