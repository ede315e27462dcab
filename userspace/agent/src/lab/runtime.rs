//! What a container runtime does: read the node's conflist, run the plugin, read its result.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{
    layout::{node_environment, node_paths},
    model::{Node, Pod},
    netlink::Netlink,
    netns,
};

/// The binary `name` beside the running one.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the running binary")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("{}: not found; the lab runs the binaries beside {}", path.display(), own.display());
    }
    Ok(path)
}

/// Puts the plugin into the node's directory of CNI binaries, under all its names.
pub fn install(plugin: &Path, directory: &Path) -> anyhow::Result<()> {
    for name in ["naru-cni", "naru-ipam", "loopback"] {
        let path = directory.join(name);
        std::os::unix::fs::symlink(plugin, &path).with_context(|| format!("link {}", path.display()))?;
    }
    Ok(())
}

/// The plugin configuration a runtime passes: the first conflist of the node, its first plugin, name and version.
pub fn network(node: &Node) -> anyhow::Result<Value> {
    let directory = node_paths(&node.root).cni_conf;
    let path = first_conflist(&directory).with_context(|| format!("node {}", node.name))?;
    let list: Value = fs::read(&path)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_slice(&text)?))
        .with_context(|| format!("node {}: {}", node.name, path.display()))?;
    let mut plugin = list["plugins"][0].clone();
    let Some(keys) = plugin.as_object_mut() else {
        bail!("node {}: {}: no plugin in it", node.name, path.display());
    };
    for key in ["cniVersion", "name"] {
        keys.insert(key.to_owned(), list[key].clone());
    }
    Ok(plugin)
}

fn first_conflist(directory: &Path) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut lists: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    lists.retain(|path| path.extension().is_some_and(|extension| extension == "conflist"));
    lists.sort();
    lists.into_iter().next().with_context(|| format!("{}: init left no conflist", directory.display()))
}

/// Makes the sandbox of `pod`, loopback up as runtimes leave it, and attaches it to `node`; fills in the addresses.
pub fn add(node: &Node, plugin: &Path, network: &Value, pod: &mut Pod) -> anyhow::Result<()> {
    netns::create(&pod.netns, || Netlink::open()?.set_up("lo"))?;
    let result = netns::inside(&node.netns, || run(node, plugin, network, pod))
        .with_context(|| format!("pod {}: ADD", pod.name))?;
    pod.addresses =
        addresses(&result).with_context(|| format!("pod {}: ADD: no addresses in {result}", pod.name))?;
    pod.result = result;
    Ok(())
}

fn run(node: &Node, plugin: &Path, network: &Value, pod: &Pod) -> anyhow::Result<Value> {
    let mut child = Command::new(plugin)
        .envs(node_environment(&node.name, &node.root))
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", &pod.container_id)
        .env("CNI_NETNS", netns::path(&pod.netns))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.name))
        .env("CNI_PATH", node_paths(&node.root).cni_bin)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", plugin.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(network.to_string().as_bytes()).context("write the configuration")?;
    }
    let output = child.wait_with_output().context("wait for the plugin")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {} {}", output.status, stdout.trim(), stderr.trim());
    }
    serde_json::from_str(&stdout).with_context(|| format!("result is not JSON: {stdout}"))
}

/// The addresses of a CNI result of version 0.3.0 or newer.
fn addresses(result: &Value) -> Option<Vec<IpAddr>> {
    let parse = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
    let found: Vec<IpAddr> = result["ips"].as_array()?.iter().map(parse).collect::<Option<_>>()?;
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_come_from_the_result_without_their_prefix() {
        let result = json!({"ips": [{"address": "10.32.1.2/32"}, {"address": "fd10:32:0:1::2/128"}]});
        assert_eq!(
            addresses(&result).unwrap(),
            ["10.32.1.2".parse::<IpAddr>().unwrap(), "fd10:32:0:1::2".parse().unwrap()]
        );
        assert_eq!(addresses(&json!({"ips": []})), None);
        assert_eq!(addresses(&json!({})), None);
    }
}
