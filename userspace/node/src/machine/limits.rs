//! Rate limits that the runtime's lists request from the bandwidth plugin, and that the shortcut between pods of one
//! node would bypass: that plugin's queues are on the host's veths, which such packets never pass.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A list with rate limits that naru-cni is not told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The file.
    pub file: PathBuf,
    /// The network's name.
    pub network: String,
    /// True if the list itself has the rates, for every pod of the network; false if only the bandwidth plugin is told
    /// of each pod's own rates.
    pub is_for_all: bool,
}

/// Returns the lists in the runtime's directory in which such a limit comes after our plugin. Lists that cannot be read
/// are ignored.
#[must_use]
pub fn limits(directory: &Path) -> Vec<Limits> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_list = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "conflist");
    let mut all: Vec<Limits> = files.filter(is_list).filter_map(of_list).collect();
    all.sort_by(|one, other| one.file.cmp(&other.file));
    all
}

fn of_list(file: PathBuf) -> Option<Limits> {
    let list: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
    let plugins = list.get("plugins")?.as_array()?;
    let named =
        |name: &str| plugins.iter().find(|plugin| plugin.get("type").and_then(Value::as_str) == Some(name));
    let (own, limiter) = (named("naru-cni")?, named("bandwidth")?);
    let may_be_asked = |plugin: &Value| plugin.pointer("/capabilities/bandwidth") == Some(&Value::Bool(true));
    let is_off = own.pointer("/naru/shortcut").and_then(Value::as_str) == Some("off");
    let has_rates = ["ingressRate", "egressRate"]
        .iter()
        .any(|key| limiter.get(*key).and_then(Value::as_f64).is_some_and(|rate| rate > 0.0));
    if is_off || !has_rates && (!may_be_asked(limiter) || may_be_asked(own)) {
        return None;
    }
    let network = list.get("name")?.as_str()?.to_owned();
    Some(Limits { file, network, is_for_all: has_rates })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_that_our_plugin_is_not_told_of_are_found() {
        let (asked, rates) =
            (json!({ "bandwidth": true }), json!({ "type": "bandwidth", "egressRate": 1000 }));
        let own = |more: Value| {
            let mut own = json!({ "type": "naru-cni" });
            own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            own
        };
        let limiter = json!({ "type": "bandwidth", "capabilities": asked });
        for (plugins, found) in [
            (json!([own(json!({}))]), None),
            (json!([own(json!({})), limiter]), Some(false)),
            (json!([own(json!({ "capabilities": asked })), limiter]), None),
            (json!([own(json!({})), rates]), Some(true)),
            (json!([own(json!({ "capabilities": asked })), rates]), Some(true)),
            (json!([own(json!({ "naru": { "shortcut": "off" } })), rates]), None),
            (json!([own(json!({})), { "type": "bandwidth", "egressRate": 0 }]), None),
            (json!([{ "type": "bridge" }, rates]), None),
            (json!("x"), None),
        ] {
            let root = tempfile::tempdir().unwrap();
            let list = json!({ "cniVersion": "1.0.0", "name": "net", "plugins": plugins });
            fs::write(root.path().join("10-net.conflist"), list.to_string()).unwrap();
            fs::write(root.path().join("20-broken.conflist"), "{").unwrap();
            let all = limits(root.path());
            assert_eq!(all.first().map(|one| one.is_for_all), found, "{plugins}");
            assert!(all.iter().all(|one| one.network == "net"));
        }
    }
}
