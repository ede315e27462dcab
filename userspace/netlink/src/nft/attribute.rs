//! Netlink attributes as nf_tables writes them: numbers in network byte order, texts with a final zero.

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
const TYPE: u16 = 0x3fff;
/// `struct nlattr`.
const HEADER: usize = 4;

/// Attributes of one message, or those within one attribute, in the order in which they were added.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// No attributes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one with this content, padded to four bytes. The kernel refuses one whose length does not fit its field.
    pub fn bytes(mut self, kind: u16, content: &[u8]) -> Self {
        let length = u16::try_from(HEADER + content.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a text.
    pub fn text(self, kind: u16, text: &str) -> Self {
        self.bytes(kind, &[text.as_bytes(), b"\0"].concat())
    }

    /// Adds a number of four bytes.
    pub fn number(self, kind: u16, number: u32) -> Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    /// Adds a number of eight bytes.
    pub fn long(self, kind: u16, number: u64) -> Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    /// Adds an attribute that holds attributes.
    pub fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// The attributes as they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes in `bytes` with their types, as far as they are whole.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: [u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let [length_low, length_high, kind_low, kind_high] = header;
        let length = usize::from(u16::from_ne_bytes([length_low, length_high]));
        let content = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([kind_low, kind_high]) & TYPE, content))
    })
}

/// The content of the first attribute of that type.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

/// The text in the first attribute of that type, without its final zero.
pub(super) fn text(bytes: &[u8], kind: u16) -> Option<&str> {
    let content = find(bytes, kind)?;
    std::str::from_utf8(content.strip_suffix(b"\0").unwrap_or(content)).ok()
}

/// The number of four bytes in the first attribute of that type.
pub(super) fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind)?.try_into().ok().map(u32::from_be_bytes)
}

/// The number of eight bytes in the first attribute of that type.
pub(super) fn long(bytes: &[u8], kind: u16) -> Option<u64> {
    find(bytes, kind)?.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let inner = Attributes::new().number(1, 7).long(2, 1 << 40);
        let all = Attributes::new().text(1, "naru").nested(4, &inner).bytes(5, b"abc");
        let bytes = all.as_bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!((text(bytes, 1), find(bytes, 5)), (Some("naru"), Some(&b"abc"[..])));
        let inner = find(bytes, 4).unwrap();
        assert_eq!((number(inner, 1), long(inner, 2), number(inner, 2)), (Some(7), Some(1 << 40), None));
    }

    #[test]
    fn attributes_that_are_cut_end_the_list() {
        let all = Attributes::new().text(1, "naru").number(2, 3);
        for length in 0..all.as_bytes().len() {
            assert!(attributes(&all.as_bytes()[..length]).count() < 2, "cut at {length}");
        }
        assert_eq!(attributes(&[0; 16]).count(), 0, "an attribute without a length ends it");
    }
}
