use std::path::{Path, PathBuf};

use ipnet::IpNet;
use naru_store::NodeStore;
use serde_json::{Value, json};

use super::chain::PluginChain;
use crate::machine::{MachineError, OWN_NETWORK, Pool, Settings};
use crate::{
    host,
    paths::{GivenPaths, Paths},
};

/// The key under which the node's store keeps the content that init wrote last.
const KEY: &str = "conflist";
/// The keys of the runtime's directories as init got them; a plugin that makes the node again does not get them.
const DIRECTORIES: [&str; 2] = ["conflist-conf-dir", "conflist-bin-dir"];

/// Installs the runtime's network configuration, if there is a directory for it. This is init's last step, because a
/// runtime starts pods as soon as it sees the file. A file that somebody else wrote, even under our name, is not
/// touched. `is_asked`: the caller was told the runtime's directories. Returns the plugins that are missing in the
/// list.
pub(super) fn ensure(
    paths: &Paths,
    settings: &Settings,
    store: &mut NodeStore,
    is_asked: bool,
) -> Result<Vec<&'static str>, MachineError> {
    if is_asked {
        remember(paths, store)?;
    }
    let paths = &as_told(paths, store)?;
    if !settings.conflist {
        return remove(paths, Some(settings), store).map(|_| Vec::new());
    }
    let path = paths.conflist();
    if !paths.cni_conf.is_dir() {
        return Ok(Vec::new());
    }
    let chain = PluginChain::look(&paths.cni_bin, store)?;
    let content = text(paths, settings, &chain);
    if path.exists() && !is_written(&path, store)? && !is_content(&path, &content) {
        return Ok(Vec::new());
    }
    if !settings.has_addresses() && !path.exists() {
        // The runtime waits for the file, and reports that.
        return Ok(Vec::new());
    }
    // Written in the same directory and renamed there: containerd ignores a file that is created or moved in from
    // elsewhere, and reads its directory again when a name in it goes.
    host::install_file(&path, content.as_bytes(), 0o644)?;
    if store.value(KEY)?.as_ref() != Some(&content) {
        store.put(KEY, &content)?;
    }
    Ok(chain.missing())
}

/// The result of removing the runtime's network configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Withdrawn {
    /// It is gone, or there was none.
    Gone,
    /// Somebody changed it since init wrote it.
    Kept,
}

/// Removes the file if init wrote it.
pub(crate) fn remove(
    paths: &Paths,
    settings: Option<&Settings>,
    store: &mut NodeStore,
) -> Result<Withdrawn, MachineError> {
    let paths = &as_told(paths, store)?;
    let path = paths.conflist();
    if !path.exists() {
        return Ok(Withdrawn::Gone);
    }
    let is_ours = is_written(&path, store)?
        || match settings {
            // Init may have been killed before it could note the file.
            Some(settings) => {
                is_content(&path, &text(paths, settings, &PluginChain::look(&paths.cni_bin, store)?))
            }
            None => false,
        };
    if !is_ours {
        return Ok(Withdrawn::Kept);
    }
    host::remove_file(&path)?;
    Ok(Withdrawn::Gone)
}

/// Returns the directories, with those of the runtime as init got them.
///
/// # Errors
/// The store cannot be read.
pub fn as_told(paths: &Paths, store: &NodeStore) -> Result<Paths, MachineError> {
    let [conf, bin] = DIRECTORIES;
    let told = |key: &str, otherwise: &Path| -> Result<PathBuf, MachineError> {
        Ok(store.value(key)?.map_or_else(|| otherwise.to_owned(), PathBuf::from))
    };
    let (cni_conf, cni_bin) = (told(conf, &paths.cni_conf)?, told(bin, &paths.cni_bin)?);
    Ok(Paths { cni_conf, cni_bin, ..paths.clone() })
}

fn remember(paths: &Paths, store: &mut NodeStore) -> Result<(), MachineError> {
    for (key, directory) in DIRECTORIES.into_iter().zip([&paths.cni_conf, &paths.cni_bin]) {
        let told = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        let told = told.to_string_lossy().into_owned();
        if store.value(key)?.as_ref() != Some(&told) {
            store.put(key, &told)?;
        }
    }
    Ok(())
}

/// Returns true if the file is what init wrote last, or the beginning of it.
fn is_written(path: &Path, store: &NodeStore) -> Result<bool, MachineError> {
    Ok(store.value(KEY)?.is_some_and(|written| is_content(path, &written)))
}

/// Returns true if the file has this content or the beginning of it: it was cut, or is empty.
fn is_content(path: &Path, content: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|found| content.starts_with(&found))
}

fn text(paths: &Paths, settings: &Settings, chain: &PluginChain) -> String {
    format!("{:#}\n", content(paths, settings, chain))
}

/// cniVersion is 1.0.0 for runtimes that know no later one, and `cniVersions` is for the others. An absent key means
/// no, so the list states every property of a single machine's first pool; the node's blocks need none.
fn content(paths: &Paths, settings: &Settings, chain: &PluginChain) -> Value {
    let pool = settings.pools.first().filter(|_| !settings.is_clustered());
    let mut plugin = json!({ "type": "naru-cni", "ipam": { "type": "naru-ipam" } });
    if let Some(pool) = pool {
        plugin["ipMasq"] = json!(pool.masquerade);
        plugin["ipam"]["ranges"] = json!(sets(pool));
    }
    plugin["capabilities"] = chain.own_capabilities();
    let mut keys = directories(paths);
    if !chain.unserved().is_empty() {
        keys.insert("unserved".to_owned(), json!(chain.unserved()));
    }
    if !keys.is_empty() {
        plugin["naru"] = keys.into();
    }
    json!({
        "cniVersion": chain.version(),
        "cniVersions": chain.versions(),
        "name": OWN_NETWORK,
        "plugins": std::iter::once(plugin).chain(chain.entries()).collect::<Vec<_>>(),
    })
}

/// Returns the pool's subnets, a set for each family, in their order, with its reserved addresses as gateways.
fn sets(pool: &Pool) -> Vec<Vec<Value>> {
    let mut sets: Vec<(bool, Vec<Value>)> = Vec::new();
    for (range, is_v4) in ranges(pool) {
        match sets.iter_mut().find(|(v4, _)| *v4 == is_v4) {
            Some((_, set)) => set.push(range),
            None => sets.push((is_v4, vec![range])),
        }
    }
    sets.into_iter().map(|(_, set)| set).collect()
}

/// Returns each subnet, with the next gateway of its family: they are read back in this order, wherever they are.
fn ranges(pool: &Pool) -> Vec<(Value, bool)> {
    let mut gateways = pool.reserved.clone();
    let mut with_gateway = |subnet: &IpNet| {
        let is_v4 = subnet.addr().is_ipv4();
        let own = gateways.iter().position(|gateway| gateway.is_ipv4() == is_v4);
        let range = match own.map(|at| gateways.remove(at)) {
            Some(gateway) => json!({ "subnet": subnet, "gateway": gateway }),
            None => json!({ "subnet": subnet }),
        };
        (range, is_v4)
    };
    pool.subnets.iter().map(&mut with_gateway).collect()
}

/// Those directories that the plugin would not find by default.
fn directories(paths: &Paths) -> serde_json::Map<String, Value> {
    let default = Paths::resolve(GivenPaths::default(), |_| None);
    let all = [
        ("runDir", &paths.run, default.run),
        ("stateDir", &paths.state, default.state),
        ("bpfDir", &paths.bpf, default.bpf),
        ("configDir", &paths.config, default.config),
    ];
    let other = all.into_iter().filter(|(_, path, default)| *path != default);
    other.map(|(key, path, _)| (key.to_owned(), json!(path))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use naru_core::cluster::{ClusterSpec, NodeSpec};

    use super::*;

    fn settings(pools: Vec<Pool>) -> Settings {
        Settings {
            node: "node1".into(),
            cluster: ClusterSpec::default(),
            pools,
            delegated: None,
            named: Vec::new(),
            services: Vec::new(),
            attach: "auto".into(),
            conflist: true,
            max_flows: None,
            allow_overlap: false,
            fixed_ranges: false,
            origin: crate::machine::Origin::default(),
        }
    }

    fn pool(subnets: &[&str]) -> Pool {
        let subnets = subnets.iter().map(|subnet| subnet.parse().unwrap()).collect();
        Pool {
            subnets,
            reserved: Vec::new(),
            masquerade: true,
            networks: ::std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn default_directories_are_not_written_into_the_configuration() {
        let paths = Paths::resolve(GivenPaths::default(), |_| None);
        let list = content(&paths, &settings(vec![]), &PluginChain::default());
        let plugin = json!({
            "type": "naru-cni",
            "ipam": { "type": "naru-ipam" },
            "capabilities": { "bandwidth": true, "portMappings": true },
            "naru": { "unserved": ["portMappings", "bandwidth"] },
        });
        assert_eq!(list["plugins"], json!([plugin]));
        assert_eq!(list["cniVersion"], "1.0.0");
    }

    #[test]
    fn other_directories_and_subnets_are() {
        let list = content(
            &Paths::under(Path::new("/x")),
            &settings(vec![pool(&["10.22.0.0/16", "fd22::/64"])]),
            &PluginChain::default(),
        );
        assert_eq!(list["plugins"][0]["naru"]["stateDir"], "/x/state");
        let sets = json!([[{ "subnet": "10.22.0.0/16" }], [{ "subnet": "fd22::/64" }]]);
        assert_eq!(list["plugins"][0]["ipam"]["ranges"], sets);
    }

    #[test]
    fn the_list_says_all_that_the_pool_is() {
        let paths = Paths::under(Path::new("/x"));
        let reserved = vec!["10.22.0.9".parse().unwrap(), "fd22::9".parse().unwrap()];
        let pool =
            Pool { reserved, masquerade: false, ..pool(&["10.22.0.8/31", "10.22.0.10/31", "fd22::/64"]) };
        let list = content(&paths, &settings(vec![pool]), &PluginChain::default());
        assert_eq!(list["plugins"][0]["ipMasq"], false);
        let v4 = json!([{ "subnet": "10.22.0.8/31", "gateway": "10.22.0.9" }, { "subnet": "10.22.0.10/31" }]);
        let sets = json!([v4, [{ "subnet": "fd22::/64", "gateway": "fd22::9" }]]);
        assert_eq!(list["plugins"][0]["ipam"]["ranges"], sets, "one set a family: two are refused");
    }

    /// Directories, and a store in them.
    fn scene() -> (tempfile::TempDir, Paths, NodeStore) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        for directory in [&paths.cni_conf, &paths.cni_bin, &paths.state] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let store = NodeStore::open(&paths.node_store()).unwrap();
        (root, paths, store)
    }

    #[test]
    fn a_file_of_our_name_that_somebody_else_wrote_is_left_alone() {
        let (_root, paths, mut store) = scene();
        std::fs::write(paths.conflist(), "theirs").unwrap();
        ensure(&paths, &settings(vec![]), &mut store, true).unwrap();
        assert_eq!(remove(&paths, Some(&settings(vec![])), &mut store).unwrap(), Withdrawn::Kept);
        assert_eq!(std::fs::read_to_string(paths.conflist()).unwrap(), "theirs");
    }

    #[test]
    fn a_node_that_has_no_range_yet_gets_no_file_and_one_that_lost_it_keeps_its_own() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        std::fs::create_dir_all(&paths.cni_conf).unwrap();
        std::fs::create_dir_all(&paths.state).unwrap();
        let mut store = NodeStore::open(&paths.node_store()).unwrap();
        let node = |blocks: &[&str]| NodeSpec {
            name: "node1".into(),
            blocks: blocks.iter().map(|block| block.parse().unwrap()).collect(),
            ..NodeSpec::default()
        };
        let clustered = |blocks: &[&str]| Settings {
            cluster: ClusterSpec { nodes: vec![node(blocks)], ..ClusterSpec::default() },
            ..settings(vec![])
        };
        ensure(&paths, &clustered(&[]), &mut store, true).unwrap();
        assert!(!paths.conflist().exists());
        ensure(&paths, &clustered(&["10.244.1.0/24"]), &mut store, true).unwrap();
        let written = std::fs::read_to_string(paths.conflist()).unwrap();
        ensure(&paths, &clustered(&[]), &mut store, true).unwrap();
        assert_eq!(std::fs::read_to_string(paths.conflist()).unwrap(), written);
    }

    #[test]
    fn a_file_that_init_wrote_is_replaced_and_removed() {
        let (_root, paths, mut store) = scene();
        ensure(&paths, &settings(vec![]), &mut store, true).unwrap();
        ensure(&paths, &settings(vec![pool(&["10.22.0.0/16"])]), &mut store, true).unwrap();
        assert!(std::fs::read_to_string(paths.conflist()).unwrap().contains("10.22.0.0/16"));
        assert_eq!(remove(&paths, None, &mut store).unwrap(), Withdrawn::Gone);
        assert!(!paths.conflist().exists());
    }

    #[test]
    fn whoever_does_not_know_the_runtimes_directories_goes_by_those_that_init_was_told() {
        let (root, paths, mut store) = scene();
        let elsewhere = Paths {
            cni_conf: root.path().join("default/net.d"),
            cni_bin: root.path().join("default/bin"),
            ..paths.clone()
        };
        std::fs::create_dir_all(&elsewhere.cni_conf).unwrap();
        ensure(&paths, &settings(vec![]), &mut store, true).unwrap();
        ensure(&elsewhere, &settings(vec![pool(&["10.22.0.0/16"])]), &mut store, false).unwrap();
        assert!(!elsewhere.conflist().exists(), "a plugin's environment has the defaults");
        assert!(std::fs::read_to_string(paths.conflist()).unwrap().contains("10.22.0.0/16"));
    }
}
