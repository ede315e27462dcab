//! Netlink messages as bytes, for protocols that are written by hand. Layouts from `linux/netlink.h`; numbers are in
//! host order.

/// `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// `NLMSG_ERROR`, an acknowledgement when its number is 0.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`, the end of a dump.
pub const DONE: u16 = 3;
/// `NLA_F_NESTED`.
pub const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
const TYPE: u16 = 0x3fff;

/// A message with this body.
pub fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = HEADER + body.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// An attribute, padded to the next one.
pub fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = 4 + content.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// Returns the complete messages of a datagram with their types.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32_at(datagram, 0)? as usize;
        let message = datagram.get(..length).filter(|message| message.len() >= HEADER)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16_at(message, 4)?, message))
    })
}

/// Returns the number in an acknowledgement: 0, or an error number. One that is cut before its number acknowledges
/// nothing: `EBADMSG`.
pub fn error_number(message: &[u8]) -> i32 {
    u32_at(message, HEADER).map_or(libc::EBADMSG, |number| number.cast_signed().wrapping_neg())
}

/// A message or an attribute is shorter than it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut;

/// Returns the attributes in `bytes` with their types; one that is cut is an error, and the last.
pub fn attributes_whole(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Cut>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let one = u16_at(bytes, 0).and_then(|length| bytes.get(4..usize::from(length))).zip(u16_at(bytes, 2));
        let rest = one.and_then(|(content, _)| bytes.get((4 + content.len()).next_multiple_of(4)..));
        bytes = rest.unwrap_or_default();
        Some(one.map(|(content, kind)| (kind & TYPE, content)).ok_or(Cut))
    })
}

/// The attributes in `bytes` with their types, as far as they are whole.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let content = bytes.get(4..length)?;
        let kind = u16_at(bytes, 2)? & TYPE;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// The content of the first attribute of that type.
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

/// The integer at `offset`.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The integer at `offset`.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_padded_to_four_bytes_and_says_its_own_length() {
        assert_eq!(
            attribute(1, b"bpf\0"),
            [8_u16.to_ne_bytes(), 1_u16.to_ne_bytes(), *b"bp", *b"f\0"].concat()
        );
        assert_eq!(attribute(1, b"clsact\0").len(), 12);
    }

    #[test]
    fn an_acknowledgement_that_is_cut_before_its_number_acknowledges_nothing() {
        let whole = message(ERROR, 0, 1, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(error_number(&whole), libc::EPERM);
        for length in 0..whole.len() {
            assert_eq!(error_number(&whole[..length]), libc::EBADMSG, "cut at {length}");
        }
    }

    #[test]
    fn an_attribute_that_is_not_whole_is_an_error_and_the_last() {
        let two = [attribute(7, b"name\0"), attribute(9, &[1; 4])].concat();
        assert!(attributes_whole(&two).all(|one| one.is_ok()) && attributes_whole(&two).count() == 2);
        for length in 13..two.len() {
            let found: Vec<bool> = attributes_whole(&two[..length]).map(|one| one.is_ok()).collect();
            assert_eq!(found, [true, false], "cut at {length}");
        }
        assert_eq!(
            attributes_whole(&[3, 0, 1, 0]).collect::<Vec<_>>(),
            [Err(Cut)],
            "shorter than its header"
        );
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_left_out() {
        let inner = [attribute(7, b"name\0"), attribute(9 | NESTED, &[1; 4])].concat();
        let datagram = [message(44, 5, 1, &inner), message(DONE, 0, 1, &[0; 4])].concat();
        let kinds: Vec<u16> = messages(&datagram).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [44, DONE]);
        let (_, first) = messages(&datagram).next().unwrap();
        assert_eq!(
            (find(&first[HEADER..], 7), find(&first[HEADER..], 9)),
            (Some(&b"name\0"[..]), Some(&[1; 4][..]))
        );
        for length in 0..datagram.len() {
            assert!(messages(&datagram[..length]).count() < 2, "cut at {length}");
        }
        assert_eq!(messages(&[0; 64]).count(), 0, "a length of nothing ends it");
    }
}
