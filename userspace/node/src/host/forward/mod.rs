//! Exceptions in other people's FORWARD chains. An accept of ours in our own table does not override their drop,
//! so each chain that would drop pods' packets gets an accept for `naru*` devices at its head, made with the tool
//! that owns the chain and marked with the comment `naru`.

//!
//! What counts as dropping: a drop policy, or a drop or reject without a condition in the base chain or in a chain it
//! jumps to without a condition. A conditional drop is the administrator's own decision about certain packets and stays.

mod iptables;
mod nft;

use std::fmt;

use super::{HostError, Journal, journal};

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

/// Finds the chains that would drop pods' packets and gives each its exception; returns them all.
/// A back end whose tool is missing and that is not in use is passed over. Repeating it changes nothing.
///
/// # Errors
/// A tool fails, or a back end is in use and its tool is missing.
pub fn open(journal: &mut dyn Journal) -> Result<Vec<Chain>, HostError> {
    let chains = dropping()?;
    for chain in &chains {
        journal::remember(journal, &format!("{KEY} {chain}"), "")?;
        match chain {
            Chain::Iptables { tool } => iptables::open(tool)?,
            Chain::Nft { family, table, chain } => nft::open(&[family, table, chain])?,
        }
    }
    Ok(chains)
}

/// The chains that would drop pods' packets, whether they have an exception or not.
///
/// # Errors
/// As [`open`].
pub fn dropping() -> Result<Vec<Chain>, HostError> {
    let mut chains = nft::dropping()?;
    for tool in iptables::LEGACY {
        if iptables::legacy_in_use(tool)? && iptables::drops(tool)? {
            chains.push(Chain::Iptables { tool: tool.to_owned() });
        }
    }
    Ok(chains)
}

/// Removes exactly our exception from the chain (as [`Chain`] prints it); one that is gone is passed over.
///
/// # Errors
/// The text names no chain, or the tool fails.
pub fn close(chain: &str) -> Result<(), HostError> {
    let words: Vec<&str> = chain.split(' ').collect();
    match words.as_slice() {
        ["nft", place @ ..] if place.len() == 3 => nft::close(place),
        [tool] if iptables::NFT.contains(tool) => iptables::close(tool),
        [tool] if iptables::LEGACY.contains(tool) => match iptables::legacy_in_use(tool)? {
            true => iptables::close(tool),
            false => Ok(()),
        },
        _ => Err(HostError::UnknownKey { key: format!("{KEY} {chain}") }),
    }
}
