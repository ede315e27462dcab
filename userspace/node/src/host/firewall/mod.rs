//! The nftables table `inet naru`: rendered as text, applied in one transaction by `nft -f -`.

mod live;
mod text;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{HostError, command};
use live::Live;

pub use text::render;

/// What the table is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Firewall {
    /// Own blocks whose packets to the outside take the node's address.
    pub masquerade: Vec<IpNet>,
    /// Destinations that are reached without masquerade: cluster ranges, own subnets, the no-masquerade list.
    pub direct: Vec<IpNet>,
    /// The tunnel; `None` without one.
    pub tunnel: Option<Tunnel>,
}

/// What the table does for the tunnel: its outer packets stay out of conntrack, and come in at the node's known
/// addresses only. Programs refuse a pod's packets to that port of the addresses the cluster lists; at any other
/// address of a node they would arrive masqueraded, in the name of the pod's node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Outer UDP port.
    pub port: u16,
    /// UDP port of the device: another one where `port` is somebody else's on this machine. Packets with our key are then
    /// translated between the two, those of others left alone.
    pub device_port: u16,
    /// VXLAN network identifier.
    pub vni: u32,
    /// This node's addresses as the cluster lists them.
    pub addresses: Vec<IpAddr>,
}

/// A named counter of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CounterValue {
    /// Packets (a GSO packet counts once).
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Counter of pods' packets through the forward hook.
pub const FORWARDED: &str = "forwarded";
/// Counter of packets dropped because they would have left un-masqueraded with a pod's address.
pub const INVALID_TO_OUTSIDE: &str = "invalid_to_outside";
/// Counter of tunnel packets dropped because they came to an address of this machine that the cluster does not list.
pub const TUNNEL_ELSEWHERE: &str = "tunnel_elsewhere";
/// All of them.
pub const COUNTERS: [&str; 3] = [FORWARDED, INVALID_TO_OUTSIDE, TUNNEL_ELSEWHERE];

/// Makes the live table be what `firewall` says; `false` when it was already. Counters keep their values.
/// A table that somebody changed in anything is made anew.
///
/// # Errors
/// `nft` is missing or refuses; the table is as it was.
pub fn apply(firewall: &Firewall) -> Result<bool, HostError> {
    let wanted = text::mark(firewall);
    let live = live::read()?;
    if live.as_ref().is_some_and(|live| live.is_sealed() && live.mark.as_ref() == Some(&wanted)) {
        return Ok(false);
    }
    let counters = live.map(|live| live.counters).unwrap_or_default();
    command::run("nft", &["-f", "-"], &render(firewall, &counters))?;
    if let Some(made) = live::read()? {
        command::run("nft", &["add", "chain", "inet", TABLE, &made.seal()], "")?;
    }
    Ok(true)
}

/// The table's named counters; `None` when there is no table.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn counters() -> Result<Option<BTreeMap<String, CounterValue>>, HostError> {
    Ok(live::read()?.map(|Live { counters, .. }| counters))
}

/// Deletes the table; `false` when it was gone already.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn delete() -> Result<bool, HostError> {
    if live::read()?.is_none() {
        return Ok(false);
    }
    command::run("nft", &["delete", "table", "inet", TABLE], "").map(|_| true)
}

/// The table's name; its family is `inet`.
pub(super) const TABLE: &str = "naru";
