//! Frames of both families, written by hand.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::{IpAddr, Ipv6Addr};

use naru_packet::{Bytes, Content, Frame, Ip, parse};

pub const V4: ([u8; 4], [u8; 4]) = ([10, 1, 0, 1], [10, 1, 0, 2]);

pub fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

/// The Internet checksum (RFC 1071).
pub fn internet(bytes: &[u8]) -> u16 {
    let sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ethertype.to_be_bytes(), payload].concat()
}

/// IPv4 with `options` (a multiple of four bytes).
pub fn ipv4(protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (20 + options.len() + payload.len()) as u16;
    let mut header = vec![0x45 + (options.len() / 4) as u8, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
    header.extend([V4.0, V4.1].concat());
    header.extend(options);
    let sum = internet(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    ethernet(0x0800, &[&header, payload].concat())
}

pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_between(&v6("fd00::1"), &v6("fd00::2"), next, payload)
}

pub fn ipv6_between(source: &[u8; 16], destination: &[u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let header = [&[0x60, 0, 0, 0][..], &length, &[next, 64], source, destination].concat();
    ethernet(0x86dd, &[&header, payload].concat())
}

pub fn udp(port: u16) -> Vec<u8> {
    [&[0x30, 0x39][..], &port.to_be_bytes(), &[0, 12, 0, 0], b"naru"].concat()
}

pub fn ip(frame: &[u8]) -> Ip {
    let mut bytes = frame.to_vec();
    let parsed = parse(&Frame::new(&mut bytes)).unwrap();
    assert_eq!(parsed.content, Content::Ip);
    parsed.ip
}

pub fn addr(text: &str) -> naru_abi::Addr {
    text.parse::<IpAddr>().unwrap().into()
}

/// Every function that reads, over one frame; panics where one of them would.
pub fn read_all(frame: &mut [u8], gso: u32) {
    let mut bytes = Frame::segmented(frame, gso);
    let Ok(parsed) = parse(&bytes) else { return };
    let ip = (parsed.content == Content::Ip).then_some(parsed.ip);
    let mut said = naru_packet::Discovery::NONE;
    let _ = naru_packet::discovery(&bytes, ip.as_ref(), &mut said);
    if let Some(ip) = ip {
        let _ = naru_packet::udp_port(&bytes, &ip);
        let _ = naru_packet::packet_size(&bytes, &ip);
        let _ = (naru_packet::link_message(&bytes, &ip), naru_packet::forwarding_ports(&bytes, &ip));
        let _ = (naru_packet::answering(&bytes, &ip), naru_packet::answered(&bytes, &ip));
        let mut key = naru_abi::FlowKey::NONE;
        let _ = naru_packet::reported(&bytes, &ip, &mut key);
        if let Some(end) = naru_packet::shortest_error(&bytes, &ip) {
            let _ = naru_packet::shorten_error(&mut bytes, &ip, end);
        }
        let macs = naru_packet::Macs { destination: [2; 6], source: [4; 6] };
        let _ = naru_packet::forward(&mut bytes, &ip, macs);
    }
    let _ = naru_packet::answer(&mut bytes, ip.as_ref(), [6; 6]);
    let _ = bytes.frame_len();
}
