//! Plugins of others that follow ours in the runtime's list if they are installed: without them a pod's host ports and
//! rate limits are silently ignored.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use naru_store::NodeStore;
use serde_json::{Value, json};

use crate::{delegate::Run, machine::MachineError};

/// The plugins, in their order, each with the capability that it serves.
const BEHIND: [(&str, &str); 2] = [("portmap", "portMappings"), ("bandwidth", "bandwidth")];

/// The versions that a list may request from our own plugin, the oldest first.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The version that runtimes without `cniVersions` request.
const USUAL: &str = "1.0.0";
/// Time limit for a plugin to report its versions.
const DEADLINE: Duration = Duration::from_secs(10);
/// The key under which the node's store keeps a plugin's versions: `<stamp of the file> <versions>`.
const KEY: &str = "chained/";

/// The plugins after ours, and the versions that all plugins of the list speak.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PluginChain {
    behind: Vec<(&'static str, &'static str)>,
    versions: Vec<&'static str>,
}

impl Default for PluginChain {
    /// Ours alone.
    fn default() -> Self {
        Self { behind: Vec::new(), versions: VERSIONS.into() }
    }
}

impl PluginChain {
    /// Finds the plugins in the runtime's directory. A plugin that reports no versions, or none of ours, would keep
    /// every pod from starting, and is left out.
    pub(super) fn look(bin: &Path, store: &mut NodeStore) -> Result<Self, MachineError> {
        let mut chain = Self::default();
        for (name, capability) in BEHIND {
            let Some(spoken) = versions(bin, name, store)? else { continue };
            let common: Vec<&str> = chain
                .versions
                .iter()
                .copied()
                .filter(|one| spoken.iter().any(|known| known == one))
                .collect();
            if !common.is_empty() {
                chain.versions = common;
                chain.behind.push((name, capability));
            }
        }
        Ok(chain)
    }

    /// Returns the plugins that could follow ours and are not installed.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        BEHIND.into_iter().filter(|one| !self.behind.contains(one)).map(|(name, _)| name).collect()
    }

    /// The list's `cniVersion`.
    pub(super) fn version(&self) -> &'static str {
        let newest = self.versions.iter().rev().find(|version| **version <= USUAL);
        newest.or(self.versions.first()).copied().unwrap_or(USUAL)
    }

    /// The list's `cniVersions`.
    pub(super) fn versions(&self) -> &[&'static str] {
        &self.versions
    }

    /// The entries behind ours.
    pub(super) fn entries(&self) -> impl Iterator<Item = Value> {
        self.behind
            .iter()
            .map(|(name, capability)| json!({ "type": name, "capabilities": { *capability: true } }))
    }

    /// Capabilities of our own entry: a pod with a rate limit must leave the qdisc of its veth to the plugin, and its
    /// packets take the stack. What no plugin serves is asked for, too, so that a pod that wants it can be refused.
    pub(super) fn own_capabilities(&self) -> Value {
        let mut capabilities = serde_json::Map::from_iter([("bandwidth".to_owned(), json!(true))]);
        capabilities.extend(self.unserved().into_iter().map(|name| (name.to_owned(), json!(true))));
        capabilities.into()
    }

    /// The capabilities that no plugin of the list serves.
    pub(super) fn unserved(&self) -> Vec<&'static str> {
        let behind = |one: &(&str, &str)| self.behind.iter().any(|(name, _)| *name == one.0);
        BEHIND.into_iter().filter(|one| !behind(one)).map(|(_, capability)| capability).collect()
    }
}

/// Returns the versions that the plugin speaks; `None` if there is no such plugin. A file is asked only once.
fn versions(bin: &Path, name: &str, store: &mut NodeStore) -> Result<Option<Vec<String>>, MachineError> {
    let Ok(meta) = fs::metadata(bin.join(name)) else { return Ok(None) };
    let changed = (meta.mtime(), meta.mtime_nsec());
    let stamp = format!("{}-{}-{}-{}.{}:", meta.dev(), meta.ino(), meta.size(), changed.0, changed.1);
    let key = format!("{KEY}{name}");
    let known = store.value(&key)?;
    let told = match known.as_deref().and_then(|known| known.strip_prefix(&stamp)) {
        Some(told) => told.to_owned(),
        None => {
            let told: String = ask(bin, name).iter().map(|version| format!(" {version}")).collect();
            store.put(&key, &format!("{stamp}{told}"))?;
            told
        }
    };
    Ok(Some(told.split_whitespace().map(str::to_owned).collect()))
}

/// Asks the plugin; one that fails counts as speaking no version.
fn ask(bin: &Path, name: &str) -> Vec<String> {
    let variables = [
        ("CNI_COMMAND", "VERSION"),
        ("CNI_NETNS", "dummy"),
        ("CNI_IFNAME", "dummy"),
        ("CNI_CONTAINERID", "dummy"),
        ("CNI_PATH", "dummy"),
    ];
    let (path, stdin) = (bin.to_string_lossy(), json!({ "cniVersion": USUAL }).to_string());
    let run =
        Run { plugin: name, path: &path, variables: &variables, stdin: stdin.as_bytes(), deadline: DEADLINE };
    let reply: Value =
        run.run().ok().and_then(|said| serde_json::from_slice(&said.stdout).ok()).unwrap_or_default();
    let listed = reply.get("supportedVersions").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Scene {
        root: tempfile::TempDir,
        store: NodeStore,
    }

    impl Scene {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let store = NodeStore::open(&root.path().join("node.db")).unwrap();
            Self { root, store }
        }

        /// A plugin that gives this reply, and notes that it was asked.
        fn plugin(&self, name: &str, reply: &str) {
            let (file, asked) = (self.root.path().join(name), self.root.path().join("asked"));
            let script = format!("#!/bin/sh\necho {name} >> {}\necho '{reply}'\n", asked.display());
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn look(&mut self) -> PluginChain {
            PluginChain::look(self.root.path(), &mut self.store).unwrap()
        }

        fn asked(&self) -> usize {
            fs::read_to_string(self.root.path().join("asked")).unwrap_or_default().lines().count()
        }
    }

    fn speaking(versions: &[&str]) -> String {
        json!({ "cniVersion": "1.0.0", "supportedVersions": versions }).to_string()
    }

    fn types(chain: &PluginChain) -> Vec<String> {
        chain.entries().map(|entry| entry["type"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn plugins_are_behind_ours_where_they_are_installed_and_all_speak_the_lists_versions() {
        let mut scene = Scene::new();
        assert_eq!(scene.look(), PluginChain::default());
        let both = json!({ "bandwidth": true, "portMappings": true });
        assert_eq!(
            (scene.look().unserved(), scene.look().own_capabilities()),
            (vec!["portMappings", "bandwidth"], both.clone())
        );
        scene.plugin("bandwidth", &speaking(&["0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
        let chain = scene.look();
        assert_eq!((types(&chain), chain.version()), (vec!["bandwidth".to_owned()], "1.0.0"));
        assert_eq!((chain.unserved(), chain.own_capabilities()), (vec!["portMappings"], both));
        scene.plugin("portmap", &speaking(&["0.4.0", "1.0.0"]));
        let chain = scene.look();
        assert_eq!(types(&chain), ["portmap", "bandwidth"]);
        assert_eq!((chain.unserved().len(), chain.own_capabilities()), (0, json!({ "bandwidth": true })));
        assert_eq!(chain.versions(), ["0.4.0", "1.0.0"]);
        assert_eq!(chain.entries().next().unwrap()["capabilities"], json!({ "portMappings": true }));
    }

    #[test]
    fn a_plugin_that_would_break_the_list_is_left_out() {
        for reply in ["", "{}", "panic", &speaking(&["9.0.0"]), &speaking(&[])] {
            let mut scene = Scene::new();
            scene.plugin("portmap", reply);
            assert_eq!(scene.look(), PluginChain::default(), "{reply}");
        }
    }

    #[test]
    fn a_plugin_is_asked_once_for_each_file_of_it() {
        let mut scene = Scene::new();
        scene.plugin("portmap", &speaking(&["0.4.0"]));
        assert_eq!((scene.look().version(), scene.look().version(), scene.asked()), ("0.4.0", "0.4.0", 1));
        scene.plugin("portmap", &speaking(&["0.4.0", "1.0.0"]));
        assert_eq!((scene.look().version(), scene.asked()), ("1.0.0", 2));
    }
}
