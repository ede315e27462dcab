//! Pods of two nodes that talk to each other and to a Service by its name.

use std::{collections::BTreeSet, time::Duration};

use anyhow::ensure;

use super::{AGNHOST, Cluster};
use crate::tool;

/// Time for something to become so on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A pod on each of the first two nodes, and a Service of both.
const PODS: &str = include_str!("pods.yaml");
/// The name of that Service.
const SERVICE: &str = "all.default.svc.cluster.local";

/// Starts the pods `a1` and `b1` and the Service `all`, and waits until every pod of the cluster is ready.
///
/// # Errors
/// One is not within three minutes.
pub fn start(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply(&PODS.replace("IMAGE", AGNHOST))?;
    wait_for_pods(cluster)
}

/// Waits until every pod of the cluster is ready.
///
/// # Errors
/// One is not within three minutes.
pub fn wait_for_pods(cluster: &Cluster) -> anyhow::Result<()> {
    let ready = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {end}";
    let all = |text: &str| !text.trim().is_empty() && text.split_whitespace().all(|word| word == "True");
    cluster.wait(&["get", "pods", "-A", "-o", ready], PATIENCE, all).map(drop)
}

/// Each pod asks the other, at every address, and the Service by its name until both pods behind it have answered.
/// Returns a line for each answer.
///
/// # Errors
/// Nobody answers, or somebody else.
pub fn check(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (pod, peer) in [("a1", "b1"), ("b1", "a1")] {
        let addresses = cluster.kubectl(&["get", "pod", peer, "-o", "jsonpath={.status.podIPs[*].ip}"])?;
        for address in addresses.split_whitespace() {
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let said = ask(cluster, pod, &format!("{host}:8080"))?;
            ensure!(said == peer, "{pod} asked {peer} at {address}, and {said:?} answered");
            lines.push(format!("{pod} -> {peer} ({address})"));
        }
        let heard = ask_service(cluster, pod)?;
        lines.extend(heard.iter().map(|said| format!("{pod} -> {SERVICE}: {said}")));
    }
    Ok(lines)
}

/// Asks the Service until two pods have answered. A name server that has just started again is ready before the
/// kubelet says that it was not, so silence counts only when it lasts.
fn ask_service(cluster: &Cluster, pod: &str) -> anyhow::Result<BTreeSet<String>> {
    let (mut heard, mut silence) = (BTreeSet::new(), None);
    tool::holds_within(PATIENCE, || {
        match ask(cluster, pod, SERVICE) {
            Ok(said) => drop(heard.insert(said)),
            Err(error) => silence = Some(error),
        }
        heard.len() == 2
    });
    ensure!(heard.len() == 2, "{pod}: behind {SERVICE} only {heard:?} answered: {silence:?}");
    Ok(heard)
}

fn ask(cluster: &Cluster, pod: &str, host: &str) -> anyhow::Result<String> {
    let url = format!("http://{host}/hostname");
    cluster.kubectl(&["exec", pod, "--", "curl", "--silent", "--show-error", "--max-time", "5", &url])
}
