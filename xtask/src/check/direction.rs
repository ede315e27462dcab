//! The permitted uses between crates, held against cargo's metadata. ARCHITECTURE.md has the picture.

use std::collections::{BTreeSet, HashMap};

use anyhow::Context;
use serde_json::Value;

/// Crates of ours, each with those of ours that it may use outside tests.
const MAY_USE: [(&str, &[&str]); 22] = [
    ("naru-abi", &[]),
    ("naru-packet", &["naru-abi"]),
    ("naru-datapath", &["naru-abi", "naru-packet"]),
    ("naru-core", &["naru-abi"]),
    ("naru-netlink", &[]),
    ("naru-bpf", &["naru-abi", "naru-netlink"]),
    ("naru-store", &["naru-abi", "naru-core"]),
    ("naru-node", &["naru-abi", "naru-bpf", "naru-core", "naru-netlink", "naru-store"]),
    ("naru-cni-types", &[]),
    (
        "naru-plugin",
        &["naru-abi", "naru-bpf", "naru-core", "naru-netlink", "naru-node", "naru-store", "naru-cni-types"],
    ),
    ("naru-cluster", &["naru-abi", "naru-core"]),
    ("naru-kubernetes", &["naru-cluster", "naru-core"]),
    // Programs of others, and certificates: it knows nothing of ours.
    ("naru-controlplane", &[]),
    ("naru-install", &[]),
    ("naru-sandbox", &["naru-netlink", "naru-node"]),
    (
        "naru-bench",
        &["naru-abi", "naru-bpf", "naru-core", "naru-netlink", "naru-node", "naru-sandbox", "naru-store"],
    ),
    ("naru-lab", &["naru-bpf", "naru-core", "naru-netlink", "naru-node", "naru-sandbox"]),
    ("naru-view", &["naru-abi", "naru-bpf", "naru-core", "naru-netlink", "naru-node", "naru-store"]),
    (
        "naru-agent",
        &[
            "naru-abi",
            "naru-bpf",
            "naru-cluster",
            "naru-core",
            "naru-netlink",
            "naru-node",
            "naru-store",
            "naru-view",
        ],
    ),
    (
        "naru",
        &[
            "naru-abi",
            "naru-agent",
            "naru-bench",
            "naru-bpf",
            "naru-cluster",
            "naru-core",
            "naru-install",
            "naru-kubernetes",
            "naru-lab",
            "naru-netlink",
            "naru-node",
            "naru-store",
            "naru-view",
        ],
    ),
    ("xtask", &[]),
    // It judges the binaries from outside.
    ("naru-e2e", &["naru-abi", "naru-controlplane"]),
];

/// Packages that a crate must not reach, however far down, by the beginnings of their names.
const NEVER: [(&str, &[&str]); 6] = [
    ("naru-core", &["tokio", "aya", "rtnetlink", "netlink-", "kube", "rusqlite", "libc", "rustix"]),
    ("naru-packet", &["aya", "tokio"]),
    ("naru-abi", &["aya", "tokio"]),
    ("naru-cni-types", &["tokio", "aya", "rtnetlink", "netlink-", "kube"]),
    ("naru-plugin", &["kube", "tonic", "tracing-subscriber", "clap"]),
    ("xtask", &["tokio", "aya", "rusqlite"]),
];

/// The workspace's crates and all they use, by package id.
struct Graph<'a> {
    names: HashMap<&'a str, &'a str>,
    uses: HashMap<&'a str, Vec<&'a str>>,
    members: Vec<&'a str>,
}

/// A sentence for each use that is not allowed.
///
/// # Errors
/// The metadata is not what cargo prints.
pub fn complaints(metadata: &Value) -> anyhow::Result<Vec<String>> {
    let graph = Graph::read(metadata)?;
    let mut complaints = Vec::new();
    for member in &graph.members {
        complaints.extend(graph.wrong_neighbours(member));
        complaints.extend(graph.forbidden(member));
    }
    Ok(complaints)
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> anyhow::Result<Self> {
        let list = |value: &'a Value| value.as_array().context("cargo metadata: no list");
        let text = |value: &'a Value| value.as_str().context("cargo metadata: no text");
        let mut names = HashMap::new();
        for package in list(&metadata["packages"])? {
            names.insert(text(&package["id"])?, text(&package["name"])?);
        }
        let mut uses = HashMap::new();
        for node in list(&metadata["resolve"]["nodes"])? {
            let outside_tests =
                list(&node["deps"])?.iter().filter(|dependency| is_for_more_than_tests(dependency));
            uses.insert(
                text(&node["id"])?,
                outside_tests.map(|used| text(&used["pkg"])).collect::<Result<_, _>>()?,
            );
        }
        let members = list(&metadata["workspace_members"])?.iter().map(text).collect::<Result<_, _>>()?;
        Ok(Self { names, uses, members })
    }

    fn name(&self, id: &str) -> &'a str {
        self.names.get(id).copied().unwrap_or_default()
    }

    fn used_by(&self, id: &str) -> &[&'a str] {
        self.uses.get(id).map_or(&[], Vec::as_slice)
    }

    /// Uses of one of our crates by another that must not know it.
    fn wrong_neighbours(&self, member: &str) -> Vec<String> {
        let name = self.name(member);
        let Some((_, allowed)) = MAY_USE.iter().find(|(crate_name, _)| *crate_name == name) else {
            return vec![format!("{name}: say in xtask/src/check/direction.rs which crates it may use")];
        };
        let ours = self.used_by(member).iter().filter(|id| self.members.contains(id)).map(|id| self.name(id));
        ours.filter(|used| !allowed.contains(used))
            .map(|used| format!("{name} must not use {used}"))
            .collect()
    }

    /// Packages below `member` that it must not reach.
    fn forbidden(&self, member: &str) -> Vec<String> {
        let name = self.name(member);
        let banned =
            NEVER.iter().find(|(crate_name, _)| *crate_name == name).map_or(&[][..], |(_, banned)| banned);
        let reached = self.reached(member).into_iter().map(|id| self.name(id)).collect::<BTreeSet<_>>();
        let found = reached.into_iter().filter(|used| banned.iter().any(|ban| used.starts_with(ban)));
        found.map(|used| format!("{name} must not reach {used}")).collect()
    }

    fn reached(&self, member: &str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut waiting = self.used_by(member).to_vec();
        while let Some(id) = waiting.pop() {
            if reached.insert(id) {
                waiting.extend(self.used_by(id));
            }
        }
        reached
    }
}

fn is_for_more_than_tests(dependency: &Value) -> bool {
    let kinds = dependency["dep_kinds"].as_array().map_or(&[][..], Vec::as_slice);
    kinds.iter().any(|kind| kind["kind"] != "dev")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(uses: &[(&str, &str, Value)]) -> Value {
        let names = ["naru-core", "naru-node", "naru-abi", "between", "tokio"];
        let deps = |name: &str| {
            let own = uses.iter().filter(|(user, _, _)| *user == name);
            own.map(|(_, used, kind)| json!({"pkg": used, "dep_kinds": [{"kind": kind}]})).collect::<Vec<_>>()
        };
        json!({
            "packages": names.map(|name| json!({"id": name, "name": name})),
            "resolve": {"nodes": names.map(|name| json!({"id": name, "deps": deps(name)}))},
            "workspace_members": ["naru-core", "naru-node", "naru-abi"],
        })
    }

    #[test]
    fn uses_along_the_direction_are_kept() {
        let uses = [("naru-core", "naru-abi", Value::Null), ("naru-node", "naru-core", Value::Null)];
        assert_eq!(complaints(&metadata(&uses)).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_use_against_the_direction_is_named() {
        let uses = [("naru-core", "naru-node", Value::Null)];
        assert_eq!(complaints(&metadata(&uses)).unwrap(), ["naru-core must not use naru-node"]);
    }

    #[test]
    fn what_core_must_not_know_is_found_behind_other_packages() {
        let uses = [("naru-core", "between", Value::Null), ("between", "tokio", json!("build"))];
        assert_eq!(complaints(&metadata(&uses)).unwrap(), ["naru-core must not reach tokio"]);
    }

    #[test]
    fn tests_may_use_anything() {
        let uses = [("naru-core", "tokio", json!("dev")), ("naru-abi", "naru-core", json!("dev"))];
        assert_eq!(complaints(&metadata(&uses)).unwrap(), Vec::<String>::new());
    }
}
