//! Pods of a test's own, attached through the CNI protocol.

use std::{net::IpAddr, process::Command};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{
    dist,
    lab::{Lab, Node},
    netns::{Netns, Scratch},
    probe::Host,
    tool,
};

/// One CNI call on a node.
#[derive(Debug)]
pub struct Call<'a> {
    /// The node.
    pub node: &'a Node,
    /// `CNI_CONTAINERID`.
    pub container: &'a str,
    /// `CNI_NETNS`; left out if `None`.
    pub netns: Option<&'a Netns>,
    /// The plugin's configuration.
    pub conf: &'a Value,
}

impl Call<'_> {
    /// Runs the plugin for `verb` and returns its stdout.
    ///
    /// # Errors
    /// The plugin fails; the error has its error object.
    pub fn run(&self, verb: &str) -> anyhow::Result<String> {
        let mut command = Command::new(dist::binary("naru-cni")?);
        command
            .envs(self.node.environment())
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", self.container)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.node.root.join("cni/bin"))
            .env("CNI_ARGS", format!("K8S_POD_NAMESPACE=e2e;K8S_POD_NAME={};IgnoreUnknown=1", self.container))
            .env_remove("CNI_NETNS");
        if let Some(netns) = self.netns {
            command.env("CNI_NETNS", netns.path());
        }
        tool::output(&self.node.open()?, &mut command, &self.conf.to_string())
            .and_then(tool::text)
            .with_context(|| format!("{verb} of {} on {}", self.container, self.node.name))
    }
}

/// The plugin configuration that `naru init` left on `node`, with the keys of `changes` merged into it.
///
/// # Errors
/// There is none.
pub fn conf(node: &Node, changes: &Value) -> anyhow::Result<Value> {
    let directory = node.root.join("cni/conf");
    let entries = std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
    let path = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "conflist"))
        .with_context(|| format!("{}: no conflist", directory.display()))?;
    let list: Value =
        serde_json::from_slice(&std::fs::read(&path)?).with_context(|| path.display().to_string())?;
    let mut conf = list["plugins"][0].clone();
    merge(&mut conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    merge(&mut conf, changes);
    Ok(conf)
}

fn merge(into: &mut Value, changes: &Value) {
    match (into.as_object_mut(), changes) {
        (Some(object), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(object.entry(key).or_insert(Value::Null), change);
            }
        }
        _ => *into = changes.clone(),
    }
}

/// A pod of a test's own: detached, its namespace gone, when dropped.
#[derive(Debug)]
pub struct TestPod {
    node: Node,
    container: String,
    conf: Value,
    scratch: Scratch,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl TestPod {
    /// Attaches a pod to `node`, with `changes` merged into its configuration. `name` is letters and digits.
    ///
    /// # Errors
    /// ADD fails.
    pub fn add(lab: &Lab, node: &str, name: &str, changes: &Value) -> anyhow::Result<Self> {
        Self::add_to(&lab.name, lab.node(node)?.clone(), name, changes)
    }

    /// [`TestPod::add`] to a node of the lab `lab` as it is given.
    ///
    /// # Errors
    /// ADD fails.
    pub fn add_to(lab: &str, node: Node, name: &str, changes: &Value) -> anyhow::Result<Self> {
        let container = format!("{lab}-p{}-{name}", node.name.trim_start_matches('n'));
        let conf = conf(&node, changes)?;
        let scratch = Scratch::create(&container)?;
        let mut pod = Self { node, container, conf, scratch, addresses: Vec::new() };
        let result: Value = serde_json::from_str(&pod.call("ADD")?).context("read the result of ADD")?;
        pod.addresses = addresses(&result)?;
        Ok(pod)
    }

    /// Runs `verb` for this pod.
    ///
    /// # Errors
    /// The plugin fails.
    pub fn call(&self, verb: &str) -> anyhow::Result<String> {
        let netns = Some(self.scratch.netns());
        Call { node: &self.node, container: &self.container, netns, conf: &self.conf }.run(verb)
    }

    /// Its namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        self.scratch.netns()
    }

    /// The pod as a host, with its address of one family.
    ///
    /// # Errors
    /// The pod has no address of the family.
    pub fn host(&self, v6: bool) -> anyhow::Result<Host> {
        let address = self.addresses.iter().copied().find(|address| address.is_ipv6() == v6);
        let address = address.with_context(|| format!("{}: no address of the family", self.container))?;
        Ok(Host { name: self.container.clone(), netns: self.netns().clone(), address })
    }
}

impl Drop for TestPod {
    fn drop(&mut self) {
        if let Err(error) = self.call("DEL") {
            eprintln!("{error:#}");
        }
    }
}

/// The addresses in a result of version 0.3.0 or newer.
///
/// # Errors
/// There are none.
pub fn addresses(result: &Value) -> anyhow::Result<Vec<IpAddr>> {
    let ips = result["ips"].as_array().with_context(|| format!("no ips in {result}"))?;
    let parse = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
    match ips.iter().map(parse).collect::<Option<Vec<IpAddr>>>() {
        Some(found) if !found.is_empty() => Ok(found),
        _ => bail!("no addresses in {result}"),
    }
}
