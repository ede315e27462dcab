//! Notifications of changes of the rules, also of those made by iptables-nft.

use std::io;

use rustix::{io::Errno, net::RecvFlags};

use super::{
    Socket,
    attribute::text,
    message::{Reply, TABLE_NAME, kind, replies},
};

/// The bit of the group `NFNLGRP_NFTABLES` (7).
const GROUP: u32 = 1 << (7 - 1);
/// Changes that are reported for every table. Those of sets are not: every endpoint of a Service comes with one.
const STRUCTURE: [u8; 6] = [
    kind::NEW_TABLE,
    kind::DELETE_TABLE,
    kind::NEW_CHAIN,
    kind::DELETE_CHAIN,
    kind::NEW_RULE,
    kind::DELETE_RULE,
];

/// A subscription to the changes of one network namespace's rules.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    table: String,
}

impl Watch {
    /// Subscribes in the calling thread's network namespace to all changes of tables of that name, and to changes of
    /// tables, chains and rules of any name. Changes from now on are kept until they are waited for.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open(table: &str) -> io::Result<Self> {
        let socket = Socket::subscribed(GROUP).map_err(|error| error.source)?;
        Ok(Self { socket, table: table.to_owned() })
    }

    /// Waits for a change.
    ///
    /// # Errors
    /// The socket fails.
    pub fn wait(&mut self) -> io::Result<()> {
        loop {
            match self.socket.receive(RecvFlags::empty(), "nf_tables notifications") {
                Ok(datagram) if concerns(datagram, &self.table) => return Ok(()),
                Ok(_) => {}
                // More than the socket or the buffer holds, so some of it may matter.
                Err(error) if error.is(Errno::NOBUFS) || error.is(Errno::MSGSIZE) => return Ok(()),
                Err(error) => return Err(error.source),
            }
        }
    }
}

/// Returns true if a message of the datagram tells of a change of structure, or of that table. One that is cut may do.
fn concerns(datagram: &[u8], table: &str) -> bool {
    let concerns = |reply: &Reply<'_>| {
        let is_of_table = || text(reply.attributes(), TABLE_NAME) == Some(table);
        reply.object().is_some_and(|kind| {
            kind != self::kind::NEW_GENERATION && (STRUCTURE.contains(&kind) || is_of_table())
        })
    };
    replies(datagram, "").map_or(true, |replies| replies.iter().any(concerns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{
        Attributes,
        message::{SUBSYSTEM, encode},
    };

    fn message(kind: u8, table: &str) -> Vec<u8> {
        let body = Attributes::new().text(TABLE_NAME, table);
        encode(u16::from_be_bytes([SUBSYSTEM, kind]), 0, 0, [1, 0, 0, 0], &body)
    }

    #[test]
    fn sets_of_the_own_table_and_chains_and_rules_of_everybody_are_of_concern() {
        for (kind, table, expected) in [
            (kind::NEW_ELEMENTS, "naru", true),
            (kind::NEW_ELEMENTS, "kube-proxy", false),
            (kind::NEW_ELEMENTS, "naru2", false),
            (kind::NEW_RULE, "filter", true),
            (kind::DELETE_RULE, "filter", true),
            (kind::NEW_CHAIN, "filter", true),
            (kind::NEW_GENERATION, "naru", false),
        ] {
            assert_eq!(concerns(&message(kind, table), "naru"), expected, "{kind} {table}");
        }
        let both = [message(kind::NEW_ELEMENTS, "kube-proxy"), message(kind::NEW_RULE, "filter")].concat();
        assert!(concerns(&both, "naru"), "every message of a datagram is looked at");
    }

    #[test]
    fn a_datagram_that_is_cut_is_a_reason_to_look() {
        let datagram = message(kind::NEW_ELEMENTS, "kube-proxy");
        assert!((1..datagram.len()).all(|length| concerns(&datagram[..length], "naru")));
        assert!(!concerns(&datagram, "naru"));
    }
}
