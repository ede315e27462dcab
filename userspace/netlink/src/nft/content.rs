use std::collections::BTreeMap;

use super::{
    Attributes, CounterValue, NftError, Socket, TableName,
    attribute::{attributes, find, long, text},
    chain, counter,
    message::{NftRequest, TABLE_NAME, kind},
    rule, set,
    socket::ATTEMPTS,
};

/// `NFTA_TABLE_FLAGS`.
const TABLE_FLAGS: u16 = 2;
/// `NFTA_TABLE_HANDLE`.
const TABLE_HANDLE: u16 = 4;
/// `NFTA_CHAIN_FLAGS`.
const CHAIN_FLAGS: u16 = 10;
/// `NFTA_SET_DATA_TYPE`, `NFTA_SET_DATA_LEN`, `NFTA_SET_TIMEOUT`, `NFTA_SET_OBJ_TYPE`, `NFTA_SET_EXPR`.
const SET_VALUES: [u16; 5] = [6, 7, 11, 15, 17];
/// `NFTA_FLOWTABLE_NAME`, `NFTA_FLOWTABLE_HOOK`.
const FLOWTABLE: [u16; 2] = [2, 3];
/// `NFTA_SET_ELEM_KEY`, `NFTA_SET_ELEM_DATA`, `NFTA_SET_ELEM_FLAGS`, `NFTA_SET_ELEM_KEY_END`.
const ELEMENT: [u16; 4] = [1, 2, 3, 10];

/// All that a table holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableContent {
    /// The table, which no later table of the same name has.
    pub handle: TableHandle,
    /// Its counters.
    pub counters: BTreeMap<String, CounterValue>,
    /// The names of its chains.
    pub chains: Vec<String>,
    /// The texts that nft keeps at its rules.
    pub comments: Vec<String>,
    objects: Vec<Part>,
}

/// A table at a state of the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableHandle {
    /// The rules' generation.
    pub generation: u32,
    /// The number by which the kernel knows the table.
    pub number: u64,
}

/// One object in the kernel's own form, without counters and the like, which change by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    kind: u8,
    name: String,
    bytes: Vec<u8>,
}

impl TableContent {
    /// Returns the content as bytes, which stay the same until somebody changes something; chains that `without`
    /// chooses are left out.
    #[must_use]
    pub fn bytes(&self, without: impl Fn(&str) -> bool) -> Vec<u8> {
        let is_left_out = |part: &&Part| part.kind == kind::GET_CHAIN && without(&part.name);
        let parts = self.objects.iter().filter(|part| !is_left_out(part));
        parts.flat_map(|part| [&[part.kind], part.bytes.as_slice()].concat()).collect()
    }
}

impl Socket {
    /// Looks up the table and the state of the rules: two questions about single objects.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn table(&mut self, table: &TableName) -> Result<Option<TableHandle>, NftError> {
        let generation = self.generation()?;
        let what = format!("nftables table {table}");
        let (attributes, family) = (table.attributes(), Some(table.family));
        let request = NftRequest { kind: kind::GET_TABLE, flags: 0, family, attributes, what };
        let found = match self.ask(&request) {
            Err(error) if error.is_absent() => return Ok(None),
            found => found?,
        };
        let number = long(&found.attributes, TABLE_HANDLE)
            .ok_or_else(|| NftError::unexpected(&request.what, "it has no handle"))?;
        Ok(Some(TableHandle { generation, number }))
    }

    /// Reads the whole content of the table, as of one moment; `None` if there is no such table.
    ///
    /// # Errors
    /// The kernel refuses, or somebody changes rules all the time.
    pub fn content(&mut self, table: &TableName) -> Result<Option<TableContent>, NftError> {
        for _ in 0..ATTEMPTS {
            let Some(handle) = self.table(table)? else { return Ok(None) };
            match self.content_once(table, handle) {
                // A set may be deleted between the list of sets and the list of its elements.
                Err(error) if error.is_absent() => {}
                content => {
                    let content = content?;
                    if self.table(table)? == Some(handle) {
                        return Ok(Some(content));
                    }
                }
            }
        }
        let what = format!("nftables table {table}: the rules changed {ATTEMPTS} times while it was read");
        Err(NftError::new(what, rustix::io::Errno::INTR))
    }

    fn content_once(&mut self, table: &TableName, handle: TableHandle) -> Result<TableContent, NftError> {
        let empty = BTreeMap::new();
        let mut content = TableContent {
            handle,
            counters: empty,
            chains: Vec::new(),
            comments: Vec::new(),
            objects: Vec::new(),
        };
        for found in self.list(kind::GET_TABLE, table, None)? {
            content.keep(kind::GET_TABLE, &found, TABLE_NAME, &[TABLE_FLAGS]);
        }
        for found in self.list(kind::GET_CHAIN, table, None)? {
            let shown = [chain::HOOK, chain::POLICY, chain::TYPE, CHAIN_FLAGS];
            content.chains.extend(text(&found, chain::NAME).map(str::to_owned));
            content.keep(kind::GET_CHAIN, &found, chain::NAME, &shown);
        }
        for found in self.list(kind::GET_OBJECT, table, None)? {
            content.counters.extend(counter::read(&found));
            content.keep(kind::GET_OBJECT, &found, counter::NAME, &[counter::TYPE]);
        }
        for found in self.list(kind::GET_FLOWTABLE, table, None)? {
            content.keep(kind::GET_FLOWTABLE, &found, FLOWTABLE[0], &FLOWTABLE[1..]);
        }
        for found in self.list(kind::GET_SET, table, None)? {
            let shown = [&[set::FLAGS, set::KEY_TYPE, set::KEY_LENGTH], SET_VALUES.as_slice()].concat();
            content.keep(kind::GET_SET, &found, set::NAME, &shown);
            let name = text(&found, set::NAME).unwrap_or_default().to_owned();
            content.objects.push(self.elements(table, name)?);
        }
        for found in self.list(kind::GET_RULE, table, None)? {
            content.comments.extend(rule::comment(&found));
            content.keep(kind::GET_RULE, &found, rule::CHAIN, &[rule::EXPRESSIONS, rule::USER_DATA]);
        }
        Ok(content)
    }

    /// Lists the table's objects of one kind.
    fn list(&mut self, kind: u8, table: &TableName, of: Option<&str>) -> Result<Vec<Vec<u8>>, NftError> {
        let attributes = match of {
            Some(set) => table.attributes().text(set::NAME, set),
            None => table.attributes(),
        };
        let what = format!("nftables table {table}: list");
        let request = NftRequest { kind, flags: 0, family: Some(table.family), attributes, what };
        let mut objects: Vec<Vec<u8>> =
            self.dump(&request)?.into_iter().map(|object| object.attributes).collect();
        // Tables and chains are listed for the whole family.
        objects.retain(|object| text(object, TABLE_NAME) == Some(&table.name));
        Ok(objects)
    }

    /// Reads the elements of a set. A hash table lists them in an order of its own.
    fn elements(&mut self, table: &TableName, name: String) -> Result<Part, NftError> {
        let mut elements = Vec::new();
        for found in self.list(kind::GET_ELEMENTS, table, Some(&name))? {
            let list = find(&found, set::ELEMENTS).unwrap_or_default();
            elements.extend(attributes(list).map(|(_, element)| chosen(element, &ELEMENT)));
        }
        elements.sort_unstable();
        Ok(Part { kind: kind::GET_ELEMENTS, name, bytes: elements.concat() })
    }
}

impl TableContent {
    /// Keeps the object: its name, and those attributes that do not change by themselves. A list of attributes to leave
    /// out would work today, but not with statistics that the next kernel adds.
    fn keep(&mut self, kind: u8, object: &[u8], name: u16, shown: &[u16]) {
        let bytes = chosen(object, &[&[name], shown].concat());
        let name = text(object, name).unwrap_or_default().to_owned();
        self.objects.push(Part { kind, name, bytes });
    }
}

/// The attributes of these types, by their numbers.
fn chosen(object: &[u8], kinds: &[u16]) -> Vec<u8> {
    let found = kinds.iter().filter_map(|kind| find(object, *kind).map(|content| (*kind, content)));
    found.fold(Attributes::new(), |list, (kind, content)| list.bytes(kind, content)).as_bytes().to_vec()
}
