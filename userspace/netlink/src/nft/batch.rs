use super::{
    Attributes, TableName,
    message::{NftRequest, SUBSYSTEM, encode},
};

/// `NFNL_MSG_BATCH_BEGIN`.
const BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
const END: u16 = 0x11;
/// `NFNL_BATCH_GENID`.
const EXPECTED_GENERATION: u16 = 1;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 4;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub(super) const APPEND: u16 = 0x800;

/// Changes that are made together or not at all.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Batch {
    changes: Vec<NftRequest>,
    sets: u32,
}

impl Batch {
    /// No changes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true if there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the changes as bytes, which are equal for equal changes.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        self.changes.iter().flat_map(|change| change.encode(REQUEST, 0)).collect()
    }

    /// Adds a change of an object in a table.
    pub(super) fn push(
        &mut self,
        table: &TableName,
        kind: u8,
        flags: u16,
        attributes: Attributes,
        what: String,
    ) {
        self.changes.push(NftRequest { kind, flags, family: Some(table.family), attributes, what });
    }

    /// A number for a set, unique in this batch.
    pub(super) fn next_set(&mut self) -> u32 {
        self.sets += 1;
        self.sets
    }

    pub(super) fn changes(&self) -> &[NftRequest] {
        &self.changes
    }

    /// The whole transaction. Its first message has the number `begin`, each change the next; the last change is
    /// acknowledged, the others are answered where they are refused.
    pub(super) fn encode(&self, begin: u32, generation: Option<u32>) -> Vec<u8> {
        let expected = match generation {
            Some(generation) => Attributes::new().number(EXPECTED_GENERATION, generation),
            None => Attributes::new(),
        };
        // In place of a resource number: the subsystem of the batch.
        let generic = [0, 0, 0, SUBSYSTEM];
        let mut bytes = encode(BEGIN, REQUEST, begin, generic, &expected);
        let mut sequence = begin;
        for (at, change) in self.changes.iter().enumerate() {
            sequence = sequence.wrapping_add(1);
            let is_last = at + 1 == self.changes.len();
            bytes.extend(change.encode(if is_last { REQUEST | ACKNOWLEDGE } else { REQUEST }, sequence));
        }
        bytes.extend(encode(END, REQUEST, sequence.wrapping_add(1), generic, &Attributes::new()));
        bytes
    }
}
