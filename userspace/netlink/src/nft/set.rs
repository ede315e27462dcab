use std::net::IpAddr;

use ipnet::IpNet;

use super::{Attributes, Batch, IpVersion, TableName, batch::CREATE, expression::data, message::kind};

/// `NFTA_SET_NAME`, and `NFTA_SET_ELEM_LIST_SET`.
pub(super) const NAME: u16 = 2;
/// `NFTA_SET_FLAGS`.
pub(super) const FLAGS: u16 = 3;
/// `NFTA_SET_KEY_TYPE`.
pub(super) const KEY_TYPE: u16 = 4;
/// `NFTA_SET_KEY_LEN`.
pub(super) const KEY_LENGTH: u16 = 5;
/// `NFTA_SET_ID`.
const ID: u16 = 10;
/// `NFTA_SET_USERDATA`.
const USER_DATA: u16 = 13;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`.
pub(super) const ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`.
const ELEMENT: u16 = 1;
/// `NFTA_SET_ELEM_KEY`.
const ELEMENT_KEY: u16 = 1;
/// `NFTA_SET_ELEM_FLAGS`.
const ELEMENT_FLAGS: u16 = 3;
/// `NFT_SET_INTERVAL`.
const INTERVAL: u32 = 4;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// Most elements of one message: an attribute's length is a number of 16 bits.
const MESSAGE: usize = 1000;

/// A set of addresses to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// The name, unique within the table.
    pub name: String,
    /// The version of its addresses.
    pub version: IpVersion,
    /// Its members.
    pub members: Members,
}

/// The members of a set, each of the set's version; prefixes do not overlap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Members {
    /// Every address within these prefixes.
    Prefixes(Vec<IpNet>),
    /// These addresses.
    Addresses(Vec<IpAddr>),
}

/// An element of the kernel: an address that is in the set, or the first one after a prefix.
struct Element {
    address: IpAddr,
    ends_interval: bool,
}

impl Batch {
    /// Adds the set to the table, with its members.
    pub fn add_set(&mut self, table: &TableName, set: &Set) {
        let flags = match set.members {
            Members::Prefixes(_) => INTERVAL,
            Members::Addresses(_) => 0,
        };
        let attributes = table
            .attributes()
            .text(NAME, &set.name)
            .number(FLAGS, flags)
            .number(KEY_TYPE, set.version.set_type())
            .number(KEY_LENGTH, set.version.length())
            .number(ID, self.next_set())
            .bytes(USER_DATA, &network_order());
        let what = format!("nftables table {table}: set {}", set.name);
        self.push(table, kind::NEW_SET, CREATE, attributes, format!("{what}: add"));
        for part in elements(&set.members).chunks(MESSAGE) {
            let list = part.iter().fold(Attributes::new(), |list, element| {
                let key = data(&octets(element.address));
                let mut attributes = Attributes::new();
                if element.ends_interval {
                    attributes = attributes.number(ELEMENT_FLAGS, INTERVAL_END);
                }
                list.nested(ELEMENT, &attributes.nested(ELEMENT_KEY, &key))
            });
            let attributes = table.attributes().text(NAME, &set.name).nested(ELEMENTS, &list);
            self.push(table, kind::NEW_ELEMENTS, CREATE, attributes, format!("{what}: add elements"));
        }
    }
}

/// The elements of a set. A prefix is its first address and the first one after it, unless it reaches to the end.
fn elements(members: &Members) -> Vec<Element> {
    let whole = |address| Element { address, ends_interval: false };
    match members {
        Members::Addresses(addresses) => addresses.iter().copied().map(whole).collect(),
        Members::Prefixes(prefixes) => {
            let ends = |prefix: &IpNet| {
                let end = following(prefix.broadcast());
                [Some(whole(prefix.network())), end.map(|address| Element { address, ends_interval: true })]
            };
            prefixes.iter().flat_map(ends).flatten().collect()
        }
    }
}

/// The next address; `None` after the last one.
fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// The address in network byte order.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A note of the tool nft for a set whose keys are in network byte order; without it, nft prints them wrong. It holds a
/// type, a length, and a number of four bytes in host order.
fn network_order() -> Vec<u8> {
    const KEY_BYTE_ORDER: u8 = 0;
    const BIG_ENDIAN: u32 = 2;
    [&[KEY_BYTE_ORDER, 4], BIG_ENDIAN.to_ne_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(prefix: &str) -> Vec<(String, bool)> {
        let members = Members::Prefixes(vec![prefix.parse().unwrap()]);
        elements(&members).iter().map(|one| (one.address.to_string(), one.ends_interval)).collect()
    }

    #[test]
    fn a_prefix_is_its_first_address_and_the_one_after_it() {
        assert_eq!(ends("10.0.1.0/24"), [("10.0.1.0".to_owned(), false), ("10.0.2.0".to_owned(), true)]);
        assert_eq!(ends("fd00::/112"), [("fd00::".to_owned(), false), ("fd00::1:0".to_owned(), true)]);
    }

    #[test]
    fn a_prefix_that_reaches_to_the_last_address_has_no_end() {
        for (prefix, first) in [("224.0.0.0/3", "224.0.0.0"), ("0.0.0.0/0", "0.0.0.0"), ("::/0", "::")] {
            assert_eq!(ends(prefix), [(first.to_owned(), false)]);
        }
    }

    #[test]
    fn many_elements_are_sent_in_several_messages_of_which_each_fits_an_attribute() {
        let prefixes = (0..2000_u32).map(|at| format!("fd00:0:0:{at:x}::/64").parse().unwrap()).collect();
        let (table, mut batch) = (TableName::new(crate::nft::Family::Inet, "t"), Batch::new());
        let set = Set { name: "s".to_owned(), version: IpVersion::V6, members: Members::Prefixes(prefixes) };
        batch.add_set(&table, &set);
        assert_eq!(batch.changes().len(), 1 + 4);
        assert!(batch.changes().iter().all(|change| change.attributes.as_bytes().len() < 1 << 16));
    }
}
