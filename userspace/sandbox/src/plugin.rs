//! The part of a container runtime that deals with plugins: it finds them, reads the node's conflist, calls them and
//! reads their results.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::netns;

/// The binary `name` in the directory of the running one.
///
/// # Errors
/// There is no such file.
pub fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the running binary")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("{}: not found; it has to be beside {}", path.display(), own.display());
    }
    Ok(path)
}

/// Installs naru's plugin under all its names in a directory of CNI binaries.
///
/// # Errors
/// A name is taken, or the directory cannot be written.
pub fn install(plugin: &Path, directory: &Path) -> anyhow::Result<()> {
    for name in ["naru-cni", "naru-ipam", "loopback"] {
        let path = directory.join(name);
        std::os::unix::fs::symlink(plugin, &path).with_context(|| format!("link {}", path.display()))?;
    }
    Ok(())
}

/// The configuration that a runtime passes: the first plugin of the first conflist in `directory`, with the list's
/// name and version.
///
/// # Errors
/// There is no conflist, or the file is none.
pub fn configuration(directory: &Path) -> anyhow::Result<Value> {
    let path = first_conflist(directory)?;
    let list: Value = fs::read(&path)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_slice(&text)?))
        .with_context(|| path.display().to_string())?;
    let mut plugin = list["plugins"][0].clone();
    let Some(keys) = plugin.as_object_mut() else { bail!("{}: no plugin in it", path.display()) };
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
    lists.into_iter().next().with_context(|| format!("{}: no conflist", directory.display()))
}

/// Calls of one plugin on one node.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The binary.
    pub binary: PathBuf,
    /// `CNI_PATH`.
    pub path: PathBuf,
    /// Further variables of its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// Its configuration.
    pub configuration: Value,
}

/// An attachment for which a plugin is called; the interface is `eth0`.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// The container's id.
    pub container: &'a str,
    /// Name of the pod's namespace.
    pub netns: &'a str,
    /// The pod's name, which runtimes pass in `CNI_ARGS`.
    pub pod: &'a str,
}

/// The result of a successful call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The plugin's result; null if it printed nothing.
    pub result: Value,
    /// Time from the start of the process to its exit.
    pub took: Duration,
}

impl Plugin {
    /// Calls the plugin in the calling thread's namespace.
    ///
    /// # Errors
    /// The plugin cannot be run, or fails; the error has its output.
    pub fn call(&self, verb: &str, attachment: Attachment<'_>) -> anyhow::Result<Reply> {
        let configuration = self.configuration.to_string();
        let mut command = self.command(verb, attachment);
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("run {}", self.binary.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(configuration.as_bytes()).context("write the configuration")?;
        }
        let output = child.wait_with_output().context("wait for the plugin")?;
        let took = start.elapsed();
        let stdout = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{verb}: {}: {} {}", output.status, stdout.trim(), stderr.trim());
        }
        let result = match stdout.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).with_context(|| format!("result is not JSON: {text}"))?,
        };
        Ok(Reply { result, took })
    }

    fn command(&self, verb: &str, attachment: Attachment<'_>) -> Command {
        let pod = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", attachment.pod);
        let mut command = Command::new(&self.binary);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", attachment.container)
            .env("CNI_NETNS", netns::path(attachment.netns))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", pod)
            .env("CNI_PATH", &self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Reply {
    /// The addresses of a result of version 0.3.0 or newer; `None` if it has none.
    #[must_use]
    pub fn addresses(&self) -> Option<Vec<IpAddr>> {
        let parse = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        let found: Vec<IpAddr> = self.result["ips"].as_array()?.iter().map(parse).collect::<Option<_>>()?;
        (!found.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn addresses(result: Value) -> Option<Vec<IpAddr>> {
        Reply { result, took: Duration::ZERO }.addresses()
    }

    #[test]
    fn addresses_come_from_the_result_without_their_prefix() {
        let result = json!({"ips": [{"address": "10.32.1.2/32"}, {"address": "fd10:32:0:1::2/128"}]});
        assert_eq!(
            addresses(result).unwrap(),
            ["10.32.1.2".parse::<IpAddr>().unwrap(), "fd10:32:0:1::2".parse().unwrap()]
        );
        assert_eq!(addresses(json!({"ips": []})), None);
        assert_eq!(addresses(json!({})), None);
    }
}
