//! The work of a container runtime on a node of the lab.

use std::path::Path;

use anyhow::Context;
use naru_sandbox::{
    netns, node,
    plugin::{Attachment, Plugin, configuration},
};

use crate::{
    model::{Node, Pod},
    netlink::Netlink,
};

/// naru's plugin with the configuration that init has left on `node`.
pub fn plugin(node: &Node, binary: &Path) -> anyhow::Result<Plugin> {
    let paths = node::paths(&node.root);
    Ok(Plugin {
        binary: binary.to_owned(),
        environment: node::environment(&node.name, &node.root),
        configuration: configuration(&paths.cni_conf).with_context(|| format!("node {}", node.name))?,
        path: paths.cni_bin,
    })
}

/// Makes the sandbox of `pod`, loopback up as runtimes leave it, and attaches it to `node`; fills in the addresses.
pub fn add(node: &Node, plugin: &Plugin, pod: &mut Pod) -> anyhow::Result<()> {
    netns::create(&pod.netns, || Netlink::open()?.set_up("lo"))?;
    let attachment = Attachment { container: &pod.container_id, netns: &pod.netns, pod: &pod.name };
    let reply = netns::inside(&node.netns, || plugin.call("ADD", attachment))
        .with_context(|| format!("pod {}", pod.name))?;
    pod.addresses = reply
        .addresses()
        .with_context(|| format!("pod {}: ADD: no addresses in {}", pod.name, reply.result))?;
    pod.result = reply.result;
    Ok(())
}
