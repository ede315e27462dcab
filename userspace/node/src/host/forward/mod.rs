//! Exceptions in other people's FORWARD chains. An accept of ours in our own table does not override their drop,
//! so each chain that would drop pods' packets gets an accept for `naru*` devices at its head, marked with the comment
//! `naru`: over netlink in the form of the tool that owns the chain, and with the host's own tool in legacy tables.
//!
//! A chain counts as dropping if it has a drop policy, or a drop or reject without a condition in the base chain or
//! in a chain that it jumps to without a condition. A conditional drop is the administrator's own decision about
//! certain packets and stays.

mod legacy;
mod nft;

use std::fmt;

use super::{HostError, Journal, journal, process};

/// First word of an exception's key in the journal.
pub(super) const KEY: &str = "forward";
/// The tools whose tables nftables holds, IPv4 first.
const NFT_TOOLS: [&str; 2] = ["iptables-nft", "ip6tables-nft"];
/// The chain of iptables that everything forwarded passes.
const FORWARD: &str = "FORWARD";

/// A chain of somebody else's that drops forwarded packets, by the tool that owns it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ForwardChain {
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

impl fmt::Display for ForwardChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iptables { tool } => f.write_str(tool),
            Self::Nft { family, table, chain } => write!(f, "nft {family} {table} {chain}"),
        }
    }
}

/// Finds the chains that would drop pods' packets and gives each its exception. Returns all of them. Legacy tables
/// whose tool is not installed are skipped ([`unreadable`]). Repeating it changes nothing.
///
/// # Errors
/// The kernel refuses, or a tool fails.
pub fn open(journal: &mut dyn Journal) -> Result<Vec<ForwardChain>, HostError> {
    let chains = dropping()?;
    for chain in &chains {
        journal::remember(journal, &format!("{KEY} {chain}"), "")?;
        match chain {
            ForwardChain::Iptables { tool } if legacy::TOOLS.contains(&tool.as_str()) => legacy::open(tool)?,
            nft => nft::open(nft)?,
        }
    }
    Ok(chains)
}

/// The chains that would drop pods' packets, whether they have an exception or not.
///
/// # Errors
/// As [`open`].
pub fn dropping() -> Result<Vec<ForwardChain>, HostError> {
    let mut chains = nft::dropping()?;
    for tool in legacy_in_use()? {
        if legacy::drops(tool)? == Some(true) {
            chains.push(ForwardChain::Iptables { tool: tool.to_owned() });
        }
    }
    Ok(chains)
}

/// Returns the first chain that would drop pods' packets and has no exception for them; changes nothing.
/// `is_nft_known`: nobody changed nftables since the last look, so only legacy tables, which have no generation, are
/// read.
///
/// # Errors
/// As [`open`].
pub fn lacking(is_nft_known: bool) -> Result<Option<ForwardChain>, HostError> {
    for chain in if is_nft_known { Vec::new() } else { nft::dropping()? } {
        if !nft::is_open(&chain)? {
            return Ok(Some(chain));
        }
    }
    for tool in legacy_in_use()? {
        if legacy::drops(tool)? == Some(true) && !legacy::is_open(tool)? {
            return Ok(Some(ForwardChain::Iptables { tool: tool.to_owned() }));
        }
    }
    Ok(None)
}

fn legacy_in_use() -> Result<Vec<&'static str>, HostError> {
    let mut tools = Vec::new();
    for tool in legacy::TOOLS {
        if legacy::is_in_use(tool)? {
            tools.push(tool);
        }
    }
    Ok(tools)
}

/// Returns tools that are not installed although there are legacy tables that only they can read; these may drop pods'
/// packets.
///
/// # Errors
/// The kernel's list of tables cannot be read.
pub fn unreadable() -> Result<Vec<&'static str>, HostError> {
    let mut missing = Vec::new();
    for tool in legacy::TOOLS {
        if legacy::is_in_use(tool)? && process::find_tool(tool).is_none() {
            missing.push(tool);
        }
    }
    Ok(missing)
}

/// Removes exactly our exception from the chain (as [`ForwardChain`] prints it), in whichever form a version of ours
/// wrote it. An exception that is gone is skipped, and so is one in a legacy table whose tool is gone: it cannot be
/// removed, and matches nothing without our devices.
///
/// # Errors
/// The text names no chain, the kernel refuses, or the tool fails.
pub fn close(chain: &str) -> Result<(), HostError> {
    let words: Vec<&str> = chain.split(' ').collect();
    match words.as_slice() {
        ["nft", family, table, chain] => nft::close(&ForwardChain::Nft {
            family: (*family).to_owned(),
            table: (*table).to_owned(),
            chain: (*chain).to_owned(),
        }),
        [tool] if NFT_TOOLS.contains(tool) => {
            nft::close(&ForwardChain::Iptables { tool: (*tool).to_owned() })
        }
        [tool] if legacy::TOOLS.contains(tool) => match legacy::is_in_use(tool)? {
            true => match legacy::close(tool) {
                Err(HostError::ToolMissing { .. }) => Ok(()),
                closed => closed,
            },
            false => Ok(()),
        },
        _ => Err(HostError::UnknownKey { key: format!("{KEY} {chain}") }),
    }
}
