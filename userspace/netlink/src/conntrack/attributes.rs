//! Numbers of the attributes that requests and answers share (`enum ctattr_type`, `enum ctattr_tuple`).

pub(super) const TUPLE_ORIGINAL: u16 = 1;
pub(super) const TUPLE_REPLY: u16 = 2;
pub(super) const PROTOINFO: u16 = 4;
pub(super) const ID: u16 = 12;
pub(super) const ZONE: u16 = 18;
pub(super) const TUPLE_IP: u16 = 1;
pub(super) const TUPLE_PROTOCOL: u16 = 2;
pub(super) const PROTOCOL_NUMBER: u16 = 1;
pub(super) const SOURCE_PORT: u16 = 2;
pub(super) const DESTINATION_PORT: u16 = 3;
