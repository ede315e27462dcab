use super::{
    Attributes, Batch, TableName,
    attribute::{find, long, number, text},
    batch::CREATE,
    message::kind,
};

/// `NFTA_OBJ_NAME`.
pub(super) const NAME: u16 = 2;
/// `NFTA_OBJ_TYPE`.
pub(super) const TYPE: u16 = 3;
/// `NFTA_OBJ_DATA`.
const DATA: u16 = 4;
/// `NFT_OBJECT_COUNTER`.
pub(super) const COUNTER: u32 = 1;
/// `NFTA_COUNTER_BYTES`.
const BYTES: u16 = 1;
/// `NFTA_COUNTER_PACKETS`.
const PACKETS: u16 = 2;

/// The values of a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CounterValue {
    /// Packets (a GSO packet counts once).
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl CounterValue {
    /// The values as attributes.
    pub(super) fn attributes(self) -> Attributes {
        Attributes::new().long(BYTES, self.bytes).long(PACKETS, self.packets)
    }
}

impl Batch {
    /// Adds a counter to the table that starts at these values.
    pub fn add_counter(&mut self, table: &TableName, name: &str, start: CounterValue) {
        let attributes =
            table.attributes().text(NAME, name).number(TYPE, COUNTER).nested(DATA, &start.attributes());
        let what = format!("nftables table {table}: counter {name}: add");
        self.push(table, kind::NEW_OBJECT, CREATE, attributes, what);
    }
}

/// Name and values, where the object is a counter.
pub(super) fn read(attributes: &[u8]) -> Option<(String, CounterValue)> {
    let values = find(attributes, DATA).filter(|_| number(attributes, TYPE) == Some(COUNTER))?;
    let value = CounterValue { packets: long(values, PACKETS)?, bytes: long(values, BYTES)? };
    Some((text(attributes, NAME)?.to_owned(), value))
}
