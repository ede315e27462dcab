//! Container runtimes as Debian ships them, on nodes of a lab.
//!
//! Each runs in its node's network namespace only, so that mounts, cgroups and bpffs stay in sight, with directories,
//! sockets and cgroups of its own; whatever it started or mounted goes when it is dropped.

pub mod containerd;
pub mod cri;
mod grpc;
mod image;
pub mod inventory;
mod leftovers;
pub mod pod;
pub mod podman;
mod protobuf;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{dist, lab::Node};

/// Puts naru's plugins where `node`'s runtime looks for them.
fn install_plugins(node: &Node) -> anyhow::Result<()> {
    let directory = node.root.join("cni/bin");
    for name in ["naru-cni", "naru-ipam", "loopback"] {
        let to = directory.join(name);
        if !to.exists() {
            std::os::unix::fs::symlink(absolute(&dist::binary(name)?)?, &to)
                .with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| path.display().to_string())
}
