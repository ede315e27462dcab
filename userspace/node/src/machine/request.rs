use naru_core::cluster::ClusterSpec;

use super::PoolChange;
use ipnet::IpNet;
use naru_bpf::AttachMode;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

/// The `ipam.subnet` of a network configuration: a single machine's pods need no cluster file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standalone {
    /// The network's name.
    pub network: String,
    /// Subnets that pods of this machine take their addresses from; together one pool.
    pub subnets: Vec<IpNet>,
    /// Addresses of the subnets that no pod gets: the configuration's `gateway` (note: `gateway`).
    pub reserved: Vec<IpAddr>,
    /// True if pods' packets that leave the subnets take the machine's address (`ipMasq`); what is not said is no.
    pub masquerade: Option<bool>,
    /// True if the subnets are taken although others use addresses in them ([`Request::allow_overlap`]).
    pub allow_overlap: bool,
}

/// Subnets from which another IPAM plugin gives addresses to pods of this machine, as its results show.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Delegated {
    /// The subnets.
    pub subnets: Vec<IpNet>,
    /// True if pods' packets that leave the machine take its address (`ipMasq`).
    pub masquerade: bool,
    /// The networks that ask for it.
    #[serde(default)]
    pub networks: BTreeSet<String>,
}

/// The request of an init; an absent value stays as at the init before, or takes the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// This node's name.
    pub node: Option<String>,
    /// The cluster, in place of the one accepted last.
    pub cluster: Option<ClusterSpec>,
    /// The mode in which programs are attached to the tunnel device.
    pub attach: Option<AttachMode>,
    /// One more pool of subnets for this machine's own pods.
    pub standalone: Option<Standalone>,
    /// Subnets from which another IPAM gives this machine's pods addresses; an empty list is a network of which none is
    /// known yet.
    pub delegated: Option<Delegated>,
    /// A change of the named pools.
    pub pool: Option<PoolChange>,
    /// Ranges of Service addresses, which no pod range may overlap.
    pub services: Vec<ipnet::IpNet>,
    /// True if the runtime's network configuration is ours to install.
    pub conflist: Option<bool>,
    /// Capacity of `FLOWS`, fixed until uninstall or reboot.
    pub max_flows: Option<u32>,
    /// True if pod ranges are taken although addresses, links or routes of this machine lie in them; kept from then
    /// on.
    pub allow_overlap: bool,
    /// Directories of host-local: addresses that live containers have from it are taken over before the runtime sees
    /// our configuration. Pod ranges are then taken as with `allow_overlap`, but that is not kept.
    pub import: Vec<PathBuf>,
    /// True if pods cannot have other ranges, so that none is proposed; kept from then on.
    pub fixed_ranges: bool,
    /// True if this machine takes the place of the one that the node's state was made on.
    pub new_machine: bool,
    /// True if settings that cannot be read any more are set aside, and the request is all that is known.
    pub begins_anew: bool,
}
