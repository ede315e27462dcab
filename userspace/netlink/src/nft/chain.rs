use super::{
    Attributes, Batch, Family, NftError, Socket, TableName, Verdict,
    attribute::{find, number, text},
    batch::CREATE,
    message::{NftRequest, TABLE_NAME, kind},
};

/// `NFTA_CHAIN_NAME`.
pub(super) const NAME: u16 = 3;
/// `NFTA_CHAIN_HOOK`.
pub(super) const HOOK: u16 = 4;
/// `NFTA_CHAIN_POLICY`.
pub(super) const POLICY: u16 = 5;
/// `NFTA_CHAIN_TYPE`.
pub(super) const TYPE: u16 = 7;
/// `NFTA_HOOK_HOOKNUM`.
const NUMBER: u16 = 1;
/// `NFTA_HOOK_PRIORITY`.
const PRIORITY: u16 = 2;

/// A point of a routed packet's way through the node's stack: `NF_INET_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookPoint {
    /// Everything received, before routing.
    Prerouting,
    /// Packets that are forwarded.
    Forward,
    /// Packets that the node itself sends.
    Output,
    /// Everything sent, after routing.
    Postrouting,
}

impl HookPoint {
    fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// The place where the kernel calls a base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hook {
    /// The type of the chain: `filter` or `nat`.
    pub kind: &'static str,
    /// The point.
    pub point: HookPoint,
    /// Chains of the same point are called from the lowest to the highest.
    pub priority: i32,
}

/// A chain to be made. A base chain accepts what comes to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain<'a> {
    /// The name, unique within the table.
    pub name: &'a str,
    /// The place where a base chain is called; other chains are reached from rules.
    pub hook: Option<Hook>,
}

impl Batch {
    /// Adds the chain to the table.
    pub fn add_chain(&mut self, table: &TableName, chain: &Chain<'_>) {
        let mut attributes = table.attributes().text(NAME, chain.name);
        if let Some(Hook { kind, point, priority }) = chain.hook {
            let hook =
                Attributes::new().number(NUMBER, point.number()).number(PRIORITY, priority.cast_unsigned());
            attributes = attributes
                .text(TYPE, kind)
                .number(POLICY, Verdict::Accept.code().cast_unsigned())
                .nested(HOOK, &hook);
        }
        let what = format!("nftables table {table}: chain {}: add", chain.name);
        self.push(table, kind::NEW_CHAIN, CREATE, attributes, what);
    }
}

/// A listed chain, of whatever owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedChain {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub name: String,
    /// The place and the policy of a base chain.
    pub hook: Option<ListedHook>,
}

/// The hook of a listed base chain, and its policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedHook {
    /// True if it sees forwarded packets.
    pub is_forward: bool,
    /// True if its policy drops packets.
    pub drops: bool,
}

impl Socket {
    /// Lists the chains of all tables whose chains see routed packets.
    ///
    /// # Errors
    /// The kernel refuses, or the list changes all the time.
    pub fn chains(&mut self) -> Result<Vec<ListedChain>, NftError> {
        let (kind, what) = (kind::GET_CHAIN, "nftables chains".to_owned());
        let request = NftRequest { kind, flags: 0, family: None, attributes: Attributes::new(), what };
        let mut chains = Vec::new();
        for object in self.dump(&request)? {
            let Some(family) = Family::from_number(object.family) else { continue };
            let chain = ListedChain::read(family, &object.attributes);
            chains.push(chain.ok_or_else(|| NftError::unexpected(&request.what, "a chain without a name"))?);
        }
        Ok(chains)
    }
}

impl ListedChain {
    fn read(family: Family, attributes: &[u8]) -> Option<Self> {
        let table = TableName::new(family, text(attributes, TABLE_NAME)?);
        let hook = match find(attributes, HOOK) {
            Some(hook) => Some(ListedHook {
                is_forward: number(hook, NUMBER)? == HookPoint::Forward.number(),
                drops: number(attributes, POLICY)?.cast_signed() == Verdict::Drop.code(),
            }),
            None => None,
        };
        Some(Self { table, name: text(attributes, NAME)?.to_owned(), hook })
    }
}
