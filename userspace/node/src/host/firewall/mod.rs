//! The nftables table `inet naru`: rendered as text, applied in one transaction by `nft -f -`.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::HostError;

/// What the table is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Firewall {
    /// Own blocks whose packets to the outside take the node's address.
    pub masquerade: Vec<IpNet>,
    /// Destinations that are reached without masquerade: cluster ranges, own subnets, the no-masquerade list.
    pub direct: Vec<IpNet>,
    /// Outer UDP port of the tunnel, kept out of conntrack; `None` without a tunnel.
    pub tunnel_port: Option<u16>,
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

/// Makes the live table be what `firewall` says; `false` when it was already. Counters keep their values.
///
/// # Errors
/// `nft` is missing or refuses; the table is as it was.
pub fn apply(firewall: &Firewall) -> Result<bool, HostError> {
    let _ = firewall;
    todo!()
}

/// The table's named counters; `None` when there is no table.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn counters() -> Result<Option<BTreeMap<String, CounterValue>>, HostError> {
    todo!()
}

/// Deletes the table; `false` when it was gone already.
///
/// # Errors
/// `nft` is missing or refuses.
pub fn delete() -> Result<bool, HostError> {
    todo!()
}
