use serde_json::{Value, json};

use super::{InitError, Memory};
use crate::{
    host,
    paths::{GivenPaths, Paths},
};

/// Installs the runtime's network configuration, if there is a directory for it: the last thing init does, because a
/// runtime starts pods as soon as it sees the file. Other files are not touched.
pub(super) fn ensure(paths: &Paths, memory: &Memory) -> Result<bool, InitError> {
    if !memory.conflist {
        return remove(paths).map(|()| false);
    }
    if !paths.cni_conf.is_dir() {
        return Ok(false);
    }
    super::write_json(&paths.conflist(), &content(paths, memory))
}

/// Whether the file at `path` is one that init wrote, so that uninstall may remove it.
pub(crate) fn is_ours(content: &[u8]) -> bool {
    let list: Value = serde_json::from_slice(content).unwrap_or_default();
    list["plugins"][0]["type"] == "naru-cni"
}

/// cniVersion 1.0.0 for runtimes that know no later one, `cniVersions` for those that do.
fn content(paths: &Paths, memory: &Memory) -> Value {
    let mut plugin = json!({ "type": "naru-cni", "ipam": ipam(memory) });
    let directories = directories(paths);
    if directories.as_object().is_some_and(|directories| !directories.is_empty()) {
        plugin["naru"] = directories;
    }
    json!({
        "cniVersion": "1.0.0",
        "cniVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
        "name": "naru",
        "plugins": [plugin],
    })
}

/// The node's blocks need no subnet here; a single machine's do.
fn ipam(memory: &Memory) -> Value {
    match memory.pools.first().filter(|_| !memory.is_clustered()) {
        Some(pool) => {
            let sets: Vec<Value> = pool.subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
            json!({ "type": "naru-ipam", "ranges": sets })
        }
        None => json!({ "type": "naru-ipam" }),
    }
}

/// Those directories that the plugin would not find by default.
fn directories(paths: &Paths) -> Value {
    let default = Paths::resolve(GivenPaths::default(), |_| None);
    let all = [
        ("runDir", &paths.run, default.run),
        ("stateDir", &paths.state, default.state),
        ("bpfDir", &paths.bpf, default.bpf),
        ("configDir", &paths.config, default.config),
    ];
    let other = all.into_iter().filter(|(_, path, default)| *path != default);
    other.map(|(key, path, _)| (key.to_owned(), json!(path))).collect::<serde_json::Map<_, _>>().into()
}

/// Removes the file if init wrote it.
pub(crate) fn remove(paths: &Paths) -> Result<(), InitError> {
    let path = paths.conflist();
    if std::fs::read(&path).is_ok_and(|content| is_ours(&content)) {
        host::remove_file(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use naru_core::cluster::ClusterSpec;

    use super::*;
    use crate::init::Pool;

    fn memory(pools: Vec<Pool>) -> Memory {
        Memory {
            node: "node1".into(),
            cluster: ClusterSpec::default(),
            pools,
            services: Vec::new(),
            attach: "auto".into(),
            conflist: true,
        }
    }

    fn pool(subnets: &[&str]) -> Pool {
        let subnets = subnets.iter().map(|subnet| subnet.parse().unwrap()).collect();
        Pool { subnets, reserved: Vec::new(), masquerade: true }
    }

    #[test]
    fn default_directories_are_not_written_into_the_configuration() {
        let paths = Paths::resolve(GivenPaths::default(), |_| None);
        let list = content(&paths, &memory(vec![]));
        assert_eq!(list["plugins"], json!([{ "type": "naru-cni", "ipam": { "type": "naru-ipam" } }]));
        assert_eq!(list["cniVersion"], "1.0.0");
    }

    #[test]
    fn other_directories_and_subnets_are() {
        let list =
            content(&Paths::under(Path::new("/x")), &memory(vec![pool(&["10.22.0.0/16", "fd22::/64"])]));
        assert_eq!(list["plugins"][0]["naru"]["stateDir"], "/x/state");
        let sets = json!([[{ "subnet": "10.22.0.0/16" }], [{ "subnet": "fd22::/64" }]]);
        assert_eq!(list["plugins"][0]["ipam"]["ranges"], sets);
    }

    #[test]
    fn only_what_init_wrote_is_ours() {
        let paths = Paths::under(Path::new("/x"));
        assert!(is_ours(content(&paths, &memory(vec![])).to_string().as_bytes()));
        assert!(!is_ours(br#"{"plugins":[{"type":"bridge"}]}"#));
        assert!(!is_ours(b"half a fi"));
    }
}
