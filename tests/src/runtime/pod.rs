//! A pod as its runtime tells of it.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context;

use crate::{netns::Netns, probe::Host};

/// A pod with one container in it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `CNI_CONTAINERID`: of containerd the sandbox, of podman the container.
    pub id: String,
    /// Its container.
    pub(super) container: String,
    /// The file of its network namespace; not held open, which would keep the namespace when the pod is gone.
    pub netns: PathBuf,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The process with which it ends.
    pub pid: i32,
}

/// What a runtime tells of a running pod.
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

    /// It with its address of one family.
    ///
    /// # Errors
    /// It has none, or its namespace is gone.
    pub fn host(&self, v6: bool) -> anyhow::Result<Host> {
        let address = self.addresses.iter().copied().find(|address| address.is_ipv6() == v6);
        let address = address.with_context(|| format!("{}: no address of the family", self.name))?;
        let file = self.netns.file_name().and_then(|name| name.to_str()).context("no name of a namespace")?;
        Ok(Host { name: self.name.clone(), netns: Netns::open(file)?, address })
    }
}
