//! Exceptions in other people's FORWARD chains. An accept of ours in our own table does not override their drop,
//! so each chain that would drop pods' packets gets an accept for `naru*` devices at its head, made with the tool
//! that owns the chain and marked with the comment `naru`.

use std::fmt;

use super::{HostError, Journal};

/// First word of an exception's key in the journal.
pub(super) const KEY: &str = "forward";

/// A chain of somebody else's that drops forwarded packets, by the tool that owns it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Chain {
    /// `FORWARD` of the table `filter` of this tool (`iptables-nft`, `ip6tables-legacy`, ...).
    Iptables {
        /// The tool.
        tool: String,
    },
    /// A base chain of nftables.
    Nft {
        /// Address family of the table.
        family: String,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
    },
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iptables { tool } => f.write_str(tool),
            Self::Nft { family, table, chain } => write!(f, "nft {family} {table} {chain}"),
        }
    }
}

/// Finds the chains that would drop pods' packets and gives each its exception; returns all that have one now.
/// A back end whose tool is missing and that is not in use is passed over. Repeating it changes nothing.
///
/// # Errors
/// A tool fails, or a back end is in use and its tool is missing.
pub fn open(journal: &mut dyn Journal) -> Result<Vec<Chain>, HostError> {
    let _ = journal;
    todo!()
}

/// Removes exactly our exception from the chain (as [`Chain`] prints it); one that is gone is passed over.
///
/// # Errors
/// The text names no chain, or the tool fails.
pub fn close(chain: &str) -> Result<(), HostError> {
    let _ = chain;
    todo!()
}
