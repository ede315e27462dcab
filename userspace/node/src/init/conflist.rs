use ipnet::IpNet;
use naru_store::NodeStore;
use serde_json::{Value, json};

use crate::machine::{MachineError, OWN_NETWORK, Pool, Settings};
use crate::{
    host,
    paths::{GivenPaths, Paths},
};

/// The key under which the node's store keeps the content that init wrote last.
const KEY: &str = "conflist";

/// Installs the runtime's network configuration, if there is a directory for it: the last thing init does, because a
/// runtime starts pods as soon as it sees the file. A file that somebody else wrote, under our name too, is not
/// touched.
pub(super) fn ensure(paths: &Paths, settings: &Settings, store: &mut NodeStore) -> Result<(), MachineError> {
    if !settings.conflist {
        return remove(paths, Some(settings), store);
    }
    let path = paths.conflist();
    if !paths.cni_conf.is_dir() || (path.exists() && !is_ours(paths, Some(settings), store)?) {
        return Ok(());
    }
    if !settings.has_addresses() && !path.exists() {
        // The runtime waits for the file, and says so.
        return Ok(());
    }
    let content = text(paths, settings);
    host::install_file(&path, content.as_bytes(), 0o644)?;
    if store.value(KEY)?.as_ref() != Some(&content) {
        store.put(KEY, &content)?;
    }
    Ok(())
}

/// Removes the file if init wrote it.
pub(crate) fn remove(
    paths: &Paths,
    settings: Option<&Settings>,
    store: &NodeStore,
) -> Result<(), MachineError> {
    if is_ours(paths, settings, store)? {
        host::remove_file(&paths.conflist())?;
    }
    Ok(())
}

/// Returns true if the file is what init wrote last, or was writing when it was killed, or the beginning of it: an empty
/// one, or one that was cut.
fn is_ours(paths: &Paths, settings: Option<&Settings>, store: &NodeStore) -> Result<bool, MachineError> {
    let Ok(found) = std::fs::read_to_string(paths.conflist()) else { return Ok(false) };
    Ok(store.value(KEY)?.is_some_and(|known| known.starts_with(&found))
        || settings.is_some_and(|settings| text(paths, settings).starts_with(&found)))
}

fn text(paths: &Paths, settings: &Settings) -> String {
    format!("{:#}\n", content(paths, settings))
}

/// cniVersion 1.0.0 for runtimes that know no later one, `cniVersions` for those that do. What it leaves out is read as
/// no, so it says all that the first pool of a single machine is; the node's blocks need nothing.
fn content(paths: &Paths, settings: &Settings) -> Value {
    let pool = settings.pools.first().filter(|_| !settings.is_clustered());
    let mut plugin = json!({ "type": "naru-cni", "ipam": { "type": "naru-ipam" } });
    if let Some(pool) = pool {
        plugin["ipMasq"] = json!(pool.masquerade);
        plugin["ipam"]["ranges"] = json!(sets(pool));
    }
    let directories = directories(paths);
    if directories.as_object().is_some_and(|directories| !directories.is_empty()) {
        plugin["naru"] = directories;
    }
    json!({
        "cniVersion": "1.0.0",
        "cniVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
        "name": OWN_NETWORK,
        "plugins": [plugin],
    })
}

/// The pool's subnets, a set for each family, in their order, and as gateways what no pod gets.
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

/// Each subnet, with the next gateway of its family: they come back in this order, wherever they are.
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
fn directories(paths: &Paths) -> Value {
    let default = Paths::resolve(GivenPaths::default(), |_| None);
    let all = [
        ("runDir", &paths.run, default.run),
        ("stateDir", &paths.state, default.state),
        ("bpfDir", &paths.bpf, default.bpf),
        ("configDir", &paths.config, default.config),
        ("cniConfDir", &paths.cni_conf, default.cni_conf),
    ];
    let other = all.into_iter().filter(|(_, path, default)| *path != default);
    other.map(|(key, path, _)| (key.to_owned(), json!(path))).collect::<serde_json::Map<_, _>>().into()
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
        let list = content(&paths, &settings(vec![]));
        assert_eq!(list["plugins"], json!([{ "type": "naru-cni", "ipam": { "type": "naru-ipam" } }]));
        assert_eq!(list["cniVersion"], "1.0.0");
    }

    #[test]
    fn other_directories_and_subnets_are() {
        let list =
            content(&Paths::under(Path::new("/x")), &settings(vec![pool(&["10.22.0.0/16", "fd22::/64"])]));
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
        let list = content(&paths, &settings(vec![pool]));
        assert_eq!(list["plugins"][0]["ipMasq"], false);
        let v4 = json!([{ "subnet": "10.22.0.8/31", "gateway": "10.22.0.9" }, { "subnet": "10.22.0.10/31" }]);
        let sets = json!([v4, [{ "subnet": "fd22::/64", "gateway": "fd22::9" }]]);
        assert_eq!(list["plugins"][0]["ipam"]["ranges"], sets, "one set a family: two are refused");
    }

    #[test]
    fn a_file_of_our_name_that_somebody_else_wrote_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        std::fs::create_dir_all(&paths.cni_conf).unwrap();
        std::fs::create_dir_all(&paths.state).unwrap();
        let mut store = NodeStore::open(&paths.node_store()).unwrap();
        std::fs::write(paths.conflist(), "theirs").unwrap();
        ensure(&paths, &settings(vec![]), &mut store).unwrap();
        remove(&paths, None, &store).unwrap();
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
        ensure(&paths, &clustered(&[]), &mut store).unwrap();
        assert!(!paths.conflist().exists());
        ensure(&paths, &clustered(&["10.244.1.0/24"]), &mut store).unwrap();
        let written = std::fs::read_to_string(paths.conflist()).unwrap();
        ensure(&paths, &clustered(&[]), &mut store).unwrap();
        assert_eq!(std::fs::read_to_string(paths.conflist()).unwrap(), written);
    }

    #[test]
    fn a_file_that_init_wrote_is_replaced_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        std::fs::create_dir_all(&paths.cni_conf).unwrap();
        std::fs::create_dir_all(&paths.state).unwrap();
        let mut store = NodeStore::open(&paths.node_store()).unwrap();
        ensure(&paths, &settings(vec![]), &mut store).unwrap();
        ensure(&paths, &settings(vec![pool(&["10.22.0.0/16"])]), &mut store).unwrap();
        assert!(std::fs::read_to_string(paths.conflist()).unwrap().contains("10.22.0.0/16"));
        remove(&paths, None, &store).unwrap();
        assert!(!paths.conflist().exists());
    }
}
