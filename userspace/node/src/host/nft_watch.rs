//! Notifications of nftables changes, also those made by iptables-nft. Layouts from `linux/netfilter/nfnetlink.h` and
//! `linux/netfilter/nf_tables.h`.

use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
    netlink::{NETFILTER, SocketAddrNetlink},
    recv, socket_with,
};

use super::firewall::TABLE;
use naru_netlink::message as netlink;

/// Bit of the group `NFNLGRP_NFTABLES` (7).
const GROUP: u32 = 1 << (7 - 1);
/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
const SUBSYSTEM: u8 = 10;
/// What concerns us of other tables too, lower byte of a type: `NFT_MSG_` NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE,
/// DELRULE. Sets change with every endpoint of a Service.
const STRUCTURE: [u8; 6] = [0, 2, 3, 5, 6, 8];
/// `NFT_MSG_NEWGEN`: the end of every transaction.
const NEW_GENERATION: u8 = 15;
/// What follows both `struct nlmsghdr` and `struct nfgenmsg`.
const ATTRIBUTES: usize = netlink::HEADER + 4;
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, ...: all the first of their kind.
const TABLE_NAME: u16 = 1;

/// A subscription to the changes of one network namespace's rules.
#[derive(Debug)]
pub struct NftWatch {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl NftWatch {
    /// Subscribes in the calling thread's network namespace; changes from now on are kept until they are waited for.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(NETFILTER))?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        Ok(Self { socket, buffer: vec![0; 1 << 16] })
    }

    /// Waits for a change of our table, or of somebody else's chains and rules.
    ///
    /// # Errors
    /// The socket fails.
    pub fn wait(&mut self) -> io::Result<()> {
        loop {
            match recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((read, _)) if concerns_us(self.buffer.get(..read).unwrap_or_default()) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                // More than the socket holds: something of it may concern us.
                Err(rustix::io::Errno::NOBUFS) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a message of the datagram does.
fn concerns_us(datagram: &[u8]) -> bool {
    netlink::messages(datagram).any(|(kind, message)| {
        let [subsystem, kind] = kind.to_be_bytes();
        let is_ours = || table(message) == Some(TABLE.as_bytes());
        subsystem == SUBSYSTEM && kind != NEW_GENERATION && (STRUCTURE.contains(&kind) || is_ours())
    })
}

/// Name of the table that a message is about.
fn table(message: &[u8]) -> Option<&[u8]> {
    let name = netlink::find(message.get(ATTRIBUTES..)?, TABLE_NAME)?;
    name.split_last().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, table: &str) -> Vec<u8> {
        let name = netlink::attribute(TABLE_NAME, &[table.as_bytes(), b"\0"].concat());
        netlink::message(
            u16::from_be_bytes([SUBSYSTEM, kind]),
            0,
            0,
            &[&[1, 0, 0, 0], name.as_slice()].concat(),
        )
    }

    #[test]
    fn our_tables_sets_and_everybodys_chains_and_rules_concern_us() {
        const SET_ELEMENT: u8 = 12;
        for (kind, table, expected) in [
            (SET_ELEMENT, "naru", true),
            (SET_ELEMENT, "kube-proxy", false),
            (SET_ELEMENT, "naru2", false),
            (6, "filter", true),
            (8, "filter", true),
            (3, "filter", true),
            (NEW_GENERATION, "naru", false),
        ] {
            assert_eq!(concerns_us(&message(kind, table)), expected, "{kind} {table}");
        }
        let both = [message(SET_ELEMENT, "kube-proxy"), message(6, "filter")].concat();
        assert!(concerns_us(&both), "every message of a datagram is looked at");
    }

    #[test]
    fn a_datagram_cut_anywhere_concerns_nobody() {
        let datagram = message(12, "naru");
        assert!((0..datagram.len()).all(|length| !concerns_us(&datagram[..length])));
    }
}
