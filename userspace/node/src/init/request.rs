use naru_core::cluster::ClusterSpec;

use super::{Delegated, PoolChange, Standalone};
use crate::datapath::AttachMode;

/// What an init is asked for; whatever is absent is as at the init before, or the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// This node's name.
    pub node: Option<String>,
    /// The cluster, in place of the one accepted last.
    pub cluster: Option<ClusterSpec>,
    /// How programs are attached to the tunnel device.
    pub attach: Option<AttachMode>,
    /// One more pool of subnets for this machine's own pods.
    pub standalone: Option<Standalone>,
    /// Subnets that another IPAM gives this machine's pods addresses of; an empty list is a network of which none is
    /// known yet.
    pub delegated: Option<Delegated>,
    /// What to change about the named pools.
    pub pool: Option<PoolChange>,
    /// Ranges of Service addresses, which no pod range may overlap.
    pub services: Vec<ipnet::IpNet>,
    /// Whether the runtime's network configuration is ours to install.
    pub conflist: Option<bool>,
    /// Capacity of `FLOWS`, fixed until uninstall or reboot.
    pub max_flows: Option<u32>,
}
