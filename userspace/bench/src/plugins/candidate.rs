use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use naru_sandbox::{
    netns, node,
    plugin::{Attachment, Plugin},
};
use serde_json::{Value, json};

use crate::{binaries::Binaries, hosts, site::Site};

/// The range of the pods' addresses.
const SUBNET: &str = "10.22.0.0/16";

/// The plugins that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// naru-cni.
    Naru,
    /// ptp with host-local.
    Ptp,
    /// bridge with host-local.
    Bridge,
}

impl Kind {
    /// All of them, ours first.
    pub const ALL: [Self; 3] = [Self::Naru, Self::Ptp, Self::Bridge];

    /// The name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Naru => "naru",
            Self::Ptp => "ptp + host-local",
            Self::Bridge => "bridge + host-local",
        }
    }

    /// A word for names.
    const fn word(self) -> &'static str {
        match self {
            Self::Naru => "naru",
            Self::Ptp => "ptp",
            Self::Bridge => "bridge",
        }
    }
}

/// A main plugin with its IPAM on a node of its own.
pub struct Candidate<'a> {
    /// The main plugin.
    pub kind: Kind,
    site: &'a Site,
    /// Beginning of its names.
    name: String,
    node: String,
    plugin: Plugin,
}

impl<'a> Candidate<'a> {
    /// Makes the node, for what is measured in `group`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn prepare(site: &'a Site, binaries: &Binaries, group: &str, kind: Kind) -> anyhow::Result<Self> {
        let word = kind.word();
        let name = format!("{group}-{word}");
        let root = site.directory(&name);
        fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        let plugin = Plugin {
            binary: match kind {
                Kind::Naru => binaries.plugin.clone(),
                _ => binaries.reference.join(word),
            },
            path: binaries.reference.clone(),
            environment: node::environment(&name, &root),
            configuration: configuration(kind, &root),
        };
        Ok(Self { kind, site, node: hosts::single(site, &name)?, name, plugin })
    }

    /// Calls the plugin for the pod, whose namespace is there.
    ///
    /// # Errors
    /// The plugin fails.
    pub fn call(&self, verb: &str, pod: &str) -> anyhow::Result<Duration> {
        let attachment = Attachment { container: pod, netns: pod, pod };
        let reply = netns::inside(&self.node, || self.plugin.call(verb, attachment));
        Ok(reply.with_context(|| self.kind.label())?.took)
    }

    /// Makes the namespace of a pod.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn sandbox(&self, number: usize) -> anyhow::Result<String> {
        let pod = self.site.netns(&format!("{}-{number}", self.name));
        netns::create(&pod, || Ok(()))?;
        Ok(pod)
    }

    /// The node's files, and the environment of its binaries.
    #[must_use]
    pub fn files(&self) -> (PathBuf, &[(&'static str, PathBuf)]) {
        (self.site.directory(&self.name), &self.plugin.environment)
    }

    /// The node's namespace.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }
}

fn configuration(kind: Kind, root: &std::path::Path) -> Value {
    let host_local = json!({
        "type": "host-local", "subnet": SUBNET, "dataDir": root, "routes": [{"dst": "0.0.0.0/0"}],
    });
    let mut conf = match kind {
        Kind::Naru => json!({"type": "naru-cni", "ipam": {"type": "naru-ipam", "subnet": SUBNET}}),
        Kind::Ptp => json!({"type": "ptp", "ipam": host_local}),
        Kind::Bridge => json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": host_local}),
    };
    conf["cniVersion"] = "1.0.0".into();
    conf["name"] = "bench".into();
    conf
}
