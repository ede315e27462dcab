//! Cutting an upper-layer message into fragments.

use std::net::IpAddr;

use super::ip::{self, to_v6, v4_header, v6_header};

/// The fragments, whole packets each, of `payload`; every one but the last holds `piece` bytes (a multiple of 8).
#[must_use]
pub fn cut(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: &[u8],
    piece: usize,
    id: u32,
) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = payload.chunks(piece).collect();
    let last = pieces.len().saturating_sub(1);
    let build = |(number, data): (usize, &&[u8])| {
        let offset = u16::try_from(number * piece / 8).unwrap_or(u16::MAX);
        let more = number != last;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let field = offset | if more { 0x2000 } else { 0 };
                let header = v4_header(source, destination, protocol, data.len(), id as u16, field);
                [&header[..], data].concat()
            }
            _ => {
                let header = v6_header(to_v6(source), to_v6(destination), 44, 8 + data.len());
                let field = (offset << 3 | u16::from(more)).to_be_bytes();
                [&header[..], &[protocol, 0], &field, &id.to_be_bytes(), data].concat()
            }
        }
    };
    pieces.iter().enumerate().map(build).collect()
}

/// An order in which no fragment comes where it belongs: last first, then odd ones, then even ones.
#[must_use]
pub fn shuffled(mut fragments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let last = fragments.pop();
    let split = |odd: bool| move |(number, _): &(usize, &Vec<u8>)| (number % 2 == 1) == odd;
    let odd = fragments.iter().enumerate().filter(split(true));
    let even = fragments.iter().enumerate().filter(split(false));
    let rest = odd.chain(even).map(|(_, fragment)| fragment.clone()).collect();
    [last.into_iter().collect::<Vec<_>>(), rest].concat()
}

/// Protocol number of an echo in the family of `ip`.
#[must_use]
pub fn echo_protocol(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { ip::ICMP } else { ip::ICMPV6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_cover_the_payload_and_only_the_last_fragment_ends_it() {
        let fragments = cut([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), ip::ICMP, &[1; 3000], 1400, 9);
        let fields: Vec<u16> =
            fragments.iter().map(|packet| u16::from_be_bytes([packet[6], packet[7]])).collect();
        assert_eq!(fields, [0x2000, 0x2000 | 175, 350]);
        assert_eq!(fragments[2].len(), 20 + 200);
        let v6 = cut("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), ip::ICMPV6, &[1; 3000], 1400, 9);
        assert_eq!(u16::from_be_bytes([v6[1][42], v6[1][43]]), 1400 | 1);
        assert_eq!(u16::from_be_bytes([v6[2][42], v6[2][43]]), 2800);
    }

    #[test]
    fn shuffling_keeps_every_fragment_and_begins_with_the_last() {
        let order = shuffled(vec![vec![0], vec![1], vec![2], vec![3], vec![4]]);
        assert_eq!(order, [vec![4], vec![1], vec![3], vec![0], vec![2]]);
    }
}
