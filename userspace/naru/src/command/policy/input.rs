//! The objects, and the words of the command line as what they stand for.

use std::{net::IpAddr, path::Path, sync::Arc};

use anyhow::{Context, anyhow, bail};
use naru_cluster::policies;
use naru_core::policy::{
    model::{Cluster, Pod},
    reach::Target,
    review::Flow,
};

use super::SourceArgs;
use crate::command::cluster::api;

/// The objects of a file, of a directory, or of the API.
pub fn cluster(source: &SourceArgs) -> anyhow::Result<Cluster> {
    if let Some(path) = &source.objects {
        return Ok(policies::read(path).map_err(|fault| anyhow!("{fault}"))?.cluster());
    }
    let api = api(source.kubeconfig.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(naru_kubernetes::list_policies(&api))?;
    for fault in found.faults {
        errln!("naru: {fault}: left out");
    }
    let mut cluster = Cluster::default();
    for event in found.events {
        cluster.apply(event);
    }
    Ok(cluster)
}

/// The pod of that full name; of namesakes the one that came last.
pub fn pod<'a>(cluster: &'a Cluster, name: &str) -> anyhow::Result<&'a Arc<Pod>> {
    let named = cluster.pods.values().filter(|pod| pod.full_name() == name);
    named.max_by_key(|pod| pod.claim).with_context(|| format!("pod {name}: there is none of this name"))
}

/// A pod's addresses, or the address itself.
pub fn addresses(cluster: &Cluster, text: &str) -> anyhow::Result<Vec<IpAddr>> {
    match text.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => Ok(pod(cluster, text)?.addresses.clone()),
    }
}

/// `80`, `53/UDP`.
pub fn target(text: &str) -> anyhow::Result<Target> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let protocol = protocol.to_ascii_uppercase().parse().with_context(|| format!("port {text}"))?;
    let port = port.parse().with_context(|| format!("port {text}: {port} is no number of a port"))?;
    Ok(Target { protocol, port })
}

/// The flows of a file: a line each, `SOURCE DESTINATION PORT`, where the port is `80` or `53/UDP`.
pub fn flows(path: &Path) -> anyhow::Result<Vec<Flow>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        flow(line).with_context(|| format!("{}:{}", path.display(), number + 1))
    };
    lines.map(read).collect()
}

fn flow(line: &str) -> anyhow::Result<Flow> {
    let words = line.split_whitespace().collect::<Vec<_>>();
    let [source, destination, port] = words.as_slice() else { bail!("three words: SOURCE DESTINATION PORT") };
    let address = |text: &str| text.parse::<IpAddr>().with_context(|| format!("{text} is no address"));
    let Target { protocol, port } = target(port)?;
    Ok(Flow {
        source: address(source)?,
        destination: address(destination)?,
        protocol: protocol.number(),
        port,
    })
}
