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

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use crate::netns::Netns;

/// An address and its namespace.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name for messages.
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    /// Its address.
    pub address: IpAddr,
}

/// Tries for a second. A socket that was closed may still be open in a child of this process that has not become
/// another program yet, and then its port is in use.
fn patiently<T>(open: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        match open() {
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}
