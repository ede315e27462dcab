//! The nftables table `inet naru`, made in one transaction over netlink.
//!
//! Its rules are in `rules.rs`. A table is recognised by its mark (its wanted content) and its seal (nobody changed it
//! since); one that lacks either, like those of versions that ran nft, is made anew and keeps its counters.

mod live;
mod rules;

use std::{collections::BTreeMap, io, net::IpAddr};

use ipnet::IpNet;
use naru_netlink::nft::{Family, NftError, Socket, TableHandle, TableName, Watch};
use serde::{Deserialize, Serialize};

use super::HostError;
use live::Live;

pub use naru_netlink::nft::CounterValue;

/// The content of the table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Firewall {
    /// Own blocks whose packets to the outside take the node's address.
    pub masquerade: Vec<IpNet>,
    /// Destinations that are reached without masquerade: cluster ranges, own subnets, the no-masquerade list.
    pub direct: Vec<IpNet>,
    /// The tunnel; `None` without one.
    pub tunnel: Option<Tunnel>,
}

/// The table's rules for the tunnel: outer packets stay out of conntrack, and come in at the node's known addresses
/// only. Programs refuse a pod's packets to that port of the addresses that the cluster lists; at any other address of
/// a node they would arrive masqueraded, and count as packets of the pod's node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Outer UDP port.
    pub port: u16,
    /// UDP port of the device; it differs from `port` if another program uses that on this machine. Packets with our
    /// key are then translated between the two; those of others are left alone.
    pub device_port: u16,
    /// VXLAN network identifier.
    pub vni: u32,
    /// This node's addresses as the cluster lists them.
    pub addresses: Vec<IpAddr>,
}

/// Counter of pods' packets through the forward hook.
pub const FORWARDED: &str = "forwarded";
/// Counter of packets dropped because they would have left un-masqueraded with a pod's address.
pub const INVALID_TO_OUTSIDE: &str = "invalid_to_outside";
/// Counter of tunnel packets dropped because they came to an address of this machine that the cluster does not list.
pub const TUNNEL_ELSEWHERE: &str = "tunnel_elsewhere";
/// All of them.
pub const COUNTERS: [&str; 3] = [FORWARDED, INVALID_TO_OUTSIDE, TUNNEL_ELSEWHERE];

/// Limit of attempts to make the table, which starts over if somebody changes rules meanwhile.
const ATTEMPTS: usize = 10;

/// A proof that the table is as it was made. As long as the rules have the same generation, it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intact {
    generation: u32,
    table: u64,
}

impl From<TableHandle> for Intact {
    fn from(TableHandle { generation, number }: TableHandle) -> Self {
        Self { generation, table: number }
    }
}

/// Makes the live table match `firewall`. Returns false if it did already. Counters keep their values. A table in which
/// somebody changed anything is made anew.
///
/// # Errors
/// The kernel refuses; the table is as it was.
pub fn apply(firewall: &Firewall) -> Result<bool, HostError> {
    let mut socket = Socket::open()?;
    let wanted = rules::mark(firewall);
    let live = Live::read(&mut socket)?;
    if live.is_some_and(|live| live.is_sealed() && live.has_mark(&wanted)) {
        return Ok(false);
    }
    for _ in 0..ATTEMPTS {
        let generation = socket.generation()?;
        match make(&mut socket, firewall, Some(generation)) {
            Ok(Some(made)) if made == following(generation) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.is_outdated() => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Another program changes rules without end. A change of ours that slips in before the seal may stay until the
    // desired table changes next.
    make(&mut socket, firewall, None)?;
    Ok(true)
}

/// Replaces and seals the table. With a generation it does so only if nobody changes rules meanwhile. Returns the
/// generation at which the new table was read to be sealed; `None` when it was gone by then.
fn make(socket: &mut Socket, firewall: &Firewall, expected: Option<u32>) -> Result<Option<u32>, NftError> {
    let counters = Live::read(socket)?.map(|live| live.0.counters).unwrap_or_default();
    socket.commit(&rules::replacement(firewall, &counters), expected)?;
    let Some(made) = Live::read(socket)? else { return Ok(None) };
    let generation = made.0.handle.generation;
    socket.commit(&made.sealing(), expected.map(|_| generation))?;
    Ok(Some(generation))
}

/// Returns the generation after a transaction; 0 is not used.
fn following(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}

/// Checks that the table is as it was made; returns `None` if it is gone or somebody changed it. While nobody changes
/// any rule, `known`, an earlier answer, is confirmed by two small requests to the kernel; otherwise the whole table is
/// read.
///
/// # Errors
/// The kernel refuses.
pub fn intact(known: Option<Intact>) -> Result<Option<Intact>, HostError> {
    let mut socket = Socket::open()?;
    let Some(now) = socket.table(&table())?.map(Intact::from) else { return Ok(None) };
    if known == Some(now) {
        return Ok(known);
    }
    let live = Live::read(&mut socket)?.filter(Live::is_sealed);
    Ok(live.map(|live| live.0.handle.into()))
}

/// The table's named counters; `None` when there is no table.
///
/// # Errors
/// The kernel refuses.
pub fn counters() -> Result<Option<BTreeMap<String, CounterValue>>, HostError> {
    Ok(Live::read(&mut Socket::open()?)?.map(|live| live.0.counters))
}

/// Deletes the table; `false` when it was gone already.
///
/// # Errors
/// The kernel refuses.
pub fn delete() -> Result<bool, HostError> {
    let mut batch = naru_netlink::nft::Batch::new();
    batch.delete_table(&table());
    match Socket::open()?.commit(&batch, None) {
        Err(error) if error.is_absent() => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Subscribes to changes of the table, and of anybody's chains and rules, in the calling thread's network namespace.
///
/// # Errors
/// The socket cannot be made.
pub fn watch() -> io::Result<Watch> {
    Watch::open(TABLE)
}

/// The table by family and name.
fn table() -> TableName {
    TableName::new(Family::Inet, TABLE)
}

/// The table's name; its family is `inet`.
const TABLE: &str = "naru";
