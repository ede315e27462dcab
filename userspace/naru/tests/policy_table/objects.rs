//! The objects that a section has beside its policies.

use std::collections::BTreeMap;

use crate::rows::Section;

/// A pod's object: `namespace/name`, and what else is said of it.
#[derive(Clone, Default)]
pub struct PodObject {
    pub name: String,
    pub namespace: String,
    pub app: String,
    pub node: String,
    /// Those that its status shows, which a pod of this node needs not have.
    pub addresses: Vec<String>,
    pub host_network: bool,
    pub phase: String,
    pub terminating: bool,
}

impl PodObject {
    fn text(&self) -> String {
        let Self { name, namespace, app, node, host_network, phase, .. } = self;
        let ips = self.addresses.iter().map(|address| format!("{{ip: '{address}'}}")).collect::<Vec<_>>();
        let gone = if self.terminating { ", deletionTimestamp: '2026-01-01T00:00:00Z'" } else { "" };
        format!(
            "kind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}{gone}}}\nspec:\n  \
             nodeName: {node}\n  hostNetwork: {host_network}\n  containers:\n  - {{name: c, ports: [{{name: web, \
             containerPort: 8080}}, {{name: dns, containerPort: 5353, protocol: UDP}}, {{name: dns, containerPort: \
             5354}}]}}\n  initContainers:\n  - {{name: i, restartPolicy: Always, ports: [{{name: metrics, \
             containerPort: 9090}}]}}\nstatus: {{phase: {phase}, podIPs: [{}]}}\n",
            ips.join(", ")
        )
    }
}

/// The file for a section: its policies, and the pods as it wants them. `words` stand for addresses.
pub fn file(
    section: &Section,
    pods: &BTreeMap<String, PodObject>,
    words: &BTreeMap<String, String>,
) -> String {
    let mut pods = pods.clone();
    let mut namespaces = BTreeMap::from([("default", "red".to_owned()), ("other", "blue".to_owned())]);
    let mut documents = Vec::new();
    for line in &section.setup {
        let (kind, rest) = line.split_once(' ').unwrap();
        let mut words = rest.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        match kind {
            "policy" => documents.push(policy(rest, documents.len())),
            "object" => documents.push(format!("{rest}\n")),
            "namespace" => drop(
                namespaces.insert(if word() == "other" { "other" } else { "default" }, word().to_owned()),
            ),
            "pod" => change(pods.get_mut(word()).unwrap(), word(), word()),
            _ => {}
        }
    }
    documents.extend(pods.values().filter(|pod| !pod.app.is_empty()).map(PodObject::text));
    documents.extend(namespaces.iter().map(|(name, team)| {
        format!("kind: Namespace\nmetadata: {{name: {name}, labels: {{team: {team}}}}}\n")
    }));
    let text = documents.join("---\n");
    // The longest first: one may begin another.
    words.iter().rev().fold(text, |text, (word, address)| text.replace(&format!("${word}"), address))
}

fn policy(rest: &str, number: usize) -> String {
    let (app, rest) = rest.split_once(' ').unwrap();
    let (app, namespace) = app.split_once('@').unwrap_or((app, "default"));
    let selector = if app == "all" { "{}".to_owned() } else { format!("{{matchLabels: {{app: {app}}}}}") };
    format!(
        "kind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: {namespace}}}\nspec: {{podSelector: {selector}, \
         {rest}}}\n"
    )
}

fn change(pod: &mut PodObject, key: &str, value: &str) {
    match key {
        "app" => value.clone_into(&mut pod.app),
        "phase" => value.clone_into(&mut pod.phase),
        "terminating" => pod.terminating = true,
        "addresses" => pod.addresses = value.split_whitespace().map(str::to_owned).collect(),
        "gone" => pod.app.clear(),
        key => panic!("{key}"),
    }
}
