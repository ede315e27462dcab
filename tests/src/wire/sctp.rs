//! The first two messages of an SCTP association (RFC 9260).

use super::checksum::crc32c;

/// Position of the checksum in the common header.
const CHECKSUM: std::ops::Range<usize> = 8..12;
const TAG: u32 = 0x6e61_7275;

/// A valid INIT.
#[must_use]
pub fn init(source_port: u16, destination_port: u16) -> Vec<u8> {
    sealed(source_port, destination_port, 0, &chunk(1, &[]))
}

/// A valid INIT ACK to `init`, to the ports it came from; `None` if it is cut short.
#[must_use]
pub fn init_ack(init: &[u8]) -> Option<Vec<u8>> {
    let port = |at: usize| Some(u16::from_be_bytes(init.get(at..at + 2)?.try_into().ok()?));
    let tag = u32::from_be_bytes(init.get(16..20)?.try_into().ok()?);
    let cookie = [0, 7, 0, 8, b'n', b'a', b'r', b'u'];
    Some(sealed(port(2)?, port(0)?, tag, &chunk(2, &cookie)))
}

fn chunk(kind: u8, parameters: &[u8]) -> Vec<u8> {
    let length = (20 + parameters.len()) as u16;
    let mut chunk = vec![kind, 0];
    chunk.extend(length.to_be_bytes());
    chunk.extend(TAG.to_be_bytes());
    chunk.extend(0x1_0000u32.to_be_bytes());
    chunk.extend([0, 10, 0, 10]);
    chunk.extend(1u32.to_be_bytes());
    chunk.extend(parameters);
    chunk
}

fn sealed(source_port: u16, destination_port: u16, tag: u32, chunk: &[u8]) -> Vec<u8> {
    let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    let mut packet = [&ports[..], &tag.to_be_bytes(), &[0; 4], chunk].concat();
    let crc = crc32c(&packet).to_le_bytes();
    packet[CHECKSUM].copy_from_slice(&crc);
    packet
}

/// Returns true if the checksum of `packet` is correct.
#[must_use]
pub fn is_valid(packet: &[u8]) -> bool {
    let mut cleared = packet.to_vec();
    let Some(field) = cleared.get_mut(CHECKSUM) else { return false };
    field.fill(0);
    crc32c(&cleared).to_le_bytes() == packet[CHECKSUM]
}

/// `packet` without the parts that masquerade changes: ports and checksum.
#[must_use]
pub fn beyond_ports(packet: &[u8]) -> Vec<u8> {
    [packet.get(4..8), packet.get(12..)].into_iter().flatten().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_is_valid_until_a_bit_of_it_changes() {
        let mut packet = init(1000, 2000);
        assert!(is_valid(&packet));
        packet[20] ^= 1;
        assert!(!is_valid(&packet));
        assert!(!is_valid(&packet[..9]));
    }

    #[test]
    fn the_answer_goes_back_with_the_tag_it_was_given() {
        let answer = init_ack(&init(1000, 2000)).unwrap();
        assert!(is_valid(&answer));
        assert_eq!(answer[..4], [2000u16.to_be_bytes(), 1000u16.to_be_bytes()].concat());
        assert_eq!(answer[4..8], TAG.to_be_bytes());
    }
}
