//! A pod as its runtime describes it.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context;

use crate::{netns::Netns, probe::Host};

/// A pod with one container in it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `CNI_CONTAINERID`: with containerd the sandbox, with podman the container.
    pub id: String,
    /// Its container.
    pub(super) container: String,
    /// The file of its network namespace. It is not held open, which would keep the namespace alive after the pod.
    pub netns: PathBuf,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The process whose end is the pod's end.
    pub pid: i32,
}

/// The runtime's description of a running pod.
#[derive(Debug)]
pub(super) struct Told {
    pub netns: PathBuf,
    pub addresses: Vec<IpAddr>,
    pub pid: i32,
}

impl Pod {
    pub(super) fn new(name: &str, id: String, container: String, told: Told) -> Self {
        Self {
            name: name.to_owned(),
            id,
            container,
            netns: told.netns,
            addresses: told.addresses,
            pid: told.pid,
        }
    }

    /// The pod as a host, with its address of one family.
    ///
    /// # Errors
    /// The pod has none, or its namespace is gone.
    pub fn host(&self, v6: bool) -> anyhow::Result<Host> {
        let address = self.addresses.iter().copied().find(|address| address.is_ipv6() == v6);
        let address = address.with_context(|| format!("{}: no address of the family", self.name))?;
        let file = self.netns.file_name().and_then(|name| name.to_str()).context("no name of a namespace")?;
        Ok(Host { name: self.name.clone(), netns: Netns::open(file)?, address })
    }
}
