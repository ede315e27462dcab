//! Traffic: raw and packet sockets inside namespaces, no external tools.

pub mod forge;
pub mod fragments;
pub mod path_mtu;
pub mod ping;
pub mod raw;
mod socket;
pub mod tcp;
pub mod trace;
pub mod udp;

use std::net::IpAddr;

use crate::netns::Netns;

/// An address and the namespace it lives in.
#[derive(Clone, Debug)]
pub struct Host {
    /// What messages call it.
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    /// Its address.
    pub address: IpAddr,
}
