//! The kernel's expressions, each with its name and its attributes. They pass values on in registers; one register is
//! enough here, as each value is used by the very next expression.

use super::{Attributes, CounterValue, Verdict};

/// `NFTA_EXPR_NAME`.
pub(super) const NAME: u16 = 1;
/// `NFTA_EXPR_DATA`.
pub(super) const DATA: u16 = 2;
/// `NFT_REG_VERDICT`.
pub(super) const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG_1`.
const REGISTER: u32 = 1;
/// `NFTA_DATA_VALUE`.
pub(super) const VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`.
pub(super) const VERDICT: u16 = 2;

/// `NFTA_IMMEDIATE_*`.
pub(super) mod immediate {
    pub const REGISTER: u16 = 1;
    pub const DATA: u16 = 2;
}
/// `NFTA_META_*`, and the keys `NFT_META_*`.
pub(super) mod meta {
    pub const REGISTER: u16 = 1;
    pub const KEY: u16 = 2;
    pub const IN_DEVICE: u32 = 6;
    pub const OUT_DEVICE: u32 = 7;
    pub const NETWORK_PROTOCOL: u32 = 15;
    pub const TRANSPORT_PROTOCOL: u32 = 16;
}
/// `NFTA_CMP_*`, and the operations `NFT_CMP_*`.
pub(super) mod compare {
    pub const REGISTER: u16 = 1;
    pub const OPERATION: u16 = 2;
    pub const DATA: u16 = 3;
    pub const EQUAL: u32 = 0;
    pub const NOT_EQUAL: u32 = 1;
}
/// `NFTA_MATCH_*`: an extension of x_tables; its targets have the same attributes.
pub(super) mod extension {
    pub const NAME: u16 = 1;
    pub const REVISION: u16 = 2;
    pub const INFO: u16 = 3;
}

/// The header that an offset counts from: `NFT_PAYLOAD_*_HEADER`.
#[derive(Clone, Copy)]
pub(super) enum Base {
    Network = 1,
    Transport = 2,
}

fn expression(name: &str, attributes: &Attributes) -> Attributes {
    Attributes::new().text(NAME, name).nested(DATA, attributes)
}

/// A value as an attribute's content.
pub(super) fn data(value: &[u8]) -> Attributes {
    Attributes::new().bytes(VALUE, value)
}

/// Loads metadata of the packet.
pub(super) fn load_meta(key: u32) -> Attributes {
    expression("meta", &Attributes::new().number(meta::KEY, key).number(meta::REGISTER, REGISTER))
}

/// Ends the rule unless the register begins with `value` (or does not).
pub(super) fn compare(is_equal: bool, value: &[u8]) -> Attributes {
    let operation = if is_equal { compare::EQUAL } else { compare::NOT_EQUAL };
    let attributes = Attributes::new()
        .number(compare::REGISTER, REGISTER)
        .number(compare::OPERATION, operation)
        .nested(compare::DATA, &data(value));
    expression("cmp", &attributes)
}

/// Loads bytes of the packet.
pub(super) fn load_payload(base: Base, offset: u32, length: u32) -> Attributes {
    const DESTINATION: u16 = 1;
    expression("payload", &position(Attributes::new().number(DESTINATION, REGISTER), base, offset, length))
}

/// Writes the register into the packet; `checksum` is the offset of the checksum in the transport header, if it is to
/// be corrected.
pub(super) fn write_payload(base: Base, offset: u32, length: u32, checksum: Option<u32>) -> Attributes {
    const SOURCE: u16 = 5;
    const CHECKSUM_TYPE: u16 = 6;
    const CHECKSUM_OFFSET: u16 = 7;
    const CHECKSUM_FLAGS: u16 = 8;
    const INTERNET_CHECKSUM: u32 = 1;
    let attributes = position(Attributes::new().number(SOURCE, REGISTER), base, offset, length)
        .number(CHECKSUM_TYPE, if checksum.is_some() { INTERNET_CHECKSUM } else { 0 })
        .number(CHECKSUM_OFFSET, checksum.unwrap_or(0))
        .number(CHECKSUM_FLAGS, 0);
    expression("payload", &attributes)
}

fn position(attributes: Attributes, base: Base, offset: u32, length: u32) -> Attributes {
    const BASE: u16 = 2;
    const OFFSET: u16 = 3;
    const LENGTH: u16 = 4;
    attributes.number(BASE, base as u32).number(OFFSET, offset).number(LENGTH, length)
}

/// Ends the rule unless the register is in the set (or is not).
pub(super) fn look_up(set: &str, is_member: bool) -> Attributes {
    const SET: u16 = 1;
    const SOURCE: u16 = 2;
    const FLAGS: u16 = 5;
    const INVERTED: u32 = 1;
    let attributes = Attributes::new().number(SOURCE, REGISTER).text(SET, set);
    expression("lookup", &if is_member { attributes } else { attributes.number(FLAGS, INVERTED) })
}

/// Loads the state of the packet's conntrack entry.
pub(super) fn load_conntrack_state() -> Attributes {
    const DESTINATION: u16 = 1;
    const KEY: u16 = 2;
    const STATE: u32 = 0;
    expression("ct", &Attributes::new().number(KEY, STATE).number(DESTINATION, REGISTER))
}

/// Keeps those bits of the register that are set in `mask`, which is in host order.
pub(super) fn mask(mask: u32) -> Attributes {
    const SOURCE: u16 = 1;
    const DESTINATION: u16 = 2;
    const LENGTH: u16 = 3;
    const MASK: u16 = 4;
    const XOR: u16 = 5;
    let attributes = Attributes::new()
        .number(SOURCE, REGISTER)
        .number(DESTINATION, REGISTER)
        .number(LENGTH, 4)
        .nested(MASK, &data(&mask.to_ne_bytes()))
        .nested(XOR, &data(&[0; 4]));
    expression("bitwise", &attributes)
}

/// Loads the type that the routing tables assign to the destination address.
pub(super) fn load_destination_type() -> Attributes {
    const DESTINATION: u16 = 1;
    const RESULT: u16 = 2;
    const FLAGS: u16 = 3;
    const ADDRESS_TYPE: u32 = 3;
    const BY_DESTINATION: u32 = 2;
    let attributes = Attributes::new()
        .number(FLAGS, BY_DESTINATION)
        .number(RESULT, ADDRESS_TYPE)
        .number(DESTINATION, REGISTER);
    expression("fib", &attributes)
}

/// Counts the packet in a counter of the table.
pub(super) fn count_in(counter: &str) -> Attributes {
    const TYPE: u16 = 1;
    const OBJECT: u16 = 2;
    let attributes = Attributes::new().number(TYPE, super::counter::COUNTER).text(OBJECT, counter);
    expression("objref", &attributes)
}

/// Counts the packet at the rule itself.
pub(super) fn count_here() -> Attributes {
    expression("counter", &CounterValue::default().attributes())
}

/// Loads a value.
pub(super) fn load(value: &[u8]) -> Attributes {
    let attributes =
        Attributes::new().number(immediate::REGISTER, REGISTER).nested(immediate::DATA, &data(value));
    expression("immediate", &attributes)
}

/// Ends the rule with the verdict.
pub(super) fn verdict(verdict: &Verdict) -> Attributes {
    let data = Attributes::new().nested(VERDICT, &verdict.attributes());
    let attributes =
        Attributes::new().number(immediate::REGISTER, VERDICT_REGISTER).nested(immediate::DATA, &data);
    expression("immediate", &attributes)
}

/// Keeps the packet out of conntrack.
pub(super) fn no_track() -> Attributes {
    Attributes::new().text(NAME, "notrack")
}

/// Gives the packet the address of the device that it leaves by, and any free port.
pub(super) fn masquerade() -> Attributes {
    const FLAGS: u16 = 1;
    /// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
    const FULLY_RANDOM: u32 = 1 << 4;
    expression("masq", &Attributes::new().number(FLAGS, FULLY_RANDOM))
}

/// An extension of x_tables that matches every packet; its 256 bytes of text are shown in listings.
pub(super) fn comment_extension(comment: &str) -> Attributes {
    let mut info = comment.as_bytes().to_vec();
    info.resize(256, 0);
    let attributes = Attributes::new()
        .text(extension::NAME, "comment")
        .number(extension::REVISION, 0)
        .bytes(extension::INFO, &info);
    expression("match", &attributes)
}
