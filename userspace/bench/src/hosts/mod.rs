//! The networks that are measured, built of namespaces: candidates and baselines.

mod bridge;
mod follow;
mod naru;
mod offload;
mod policy;
mod rules;
mod service;
mod tool;
mod underlay;
mod veth;

use std::net::IpAddr;

use crate::site::Site;

pub use self::{
    bridge::{Bridge, Reach},
    naru::{Naru, Path},
    offload::{Wire, set as set_wire},
    policy::Policies,
    rules::has_bridge_nf,
    service::{SERVICE_PORTS, Services, Translator},
    tool::{ip, nft},
    veth::pair as veth,
};

/// A node by itself, its uplink up but leading nowhere: its namespace.
///
/// # Errors
/// The kernel refuses.
pub fn single(site: &Site, name: &str) -> anyhow::Result<String> {
    Ok(underlay::one(site, name)?.netns)
}

/// Two pods between which traffic is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Namespace of the one that begins.
    pub client: String,
    /// Namespace of the one that answers.
    pub server: String,
    /// The server's address.
    pub address: IpAddr,
    /// The server's IPv6 address, where the pods have such addresses.
    pub v6: Option<IpAddr>,
    /// The ClusterIP by which the client finds the server; its ports are the server's.
    pub service: Option<IpAddr>,
}
