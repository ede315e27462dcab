//! Container runtimes as Debian ships them, on nodes of a lab.
//!
//! Each runs in its node's network namespace only, so that mounts, cgroups and bpffs stay visible, with directories,
//! sockets and cgroups of its own. Everything that it started or mounted is removed when it is dropped.

pub mod containerd;
pub mod cri;
mod grpc;
pub(crate) mod image;
pub mod inventory;
pub(crate) mod leftovers;
pub mod pod;
pub mod podman;
mod protobuf;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{cni, dist, lab::Node};

/// Installs naru's plugins in the directory in which `node`'s runtime looks for them.
fn install_plugins(node: &Node) -> anyhow::Result<()> {
    let directory = node.root.join("cni/bin");
    for name in ["naru-cni", "naru-ipam", "loopback"] {
        let to = directory.join(name);
        if !to.exists() {
            symlink(absolute(&dist::binary(name)?)?, &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

/// Configures pods of `node` to be attached by naru and then by `plugin`, a reference plugin with this configuration.
///
/// # Errors
/// naru's own list or the reference plugin is missing.
pub fn chain(node: &Node, plugin: &Value) -> anyhow::Result<()> {
    let name = plugin["type"].as_str().context("a plugin without a type")?;
    let to = node.root.join("cni/bin").join(name);
    symlink(Path::new("/usr/lib/cni").join(name), &to).with_context(|| to.display().to_string())?;
    // What naru's own list does not serve, this one does.
    let mut first = cni::conf(node, &json!({ "naru": { "unserved": [] } }))?;
    let version = first.as_object_mut().and_then(|first| first.remove("cniVersion"));
    let list = json!({"cniVersion": version, "name": "chain", "plugins": [first, plugin]});
    // The name sorts before that of naru's own list.
    fs::write(node.root.join("cni/conf/00-chain.conflist"), list.to_string()).context("write the chain")
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| path.display().to_string())
}
