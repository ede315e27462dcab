use anyhow::Context;
use naru_cluster::{FileSource, Source};
use naru_core::cluster::ClusterSpec;
use naru_node::{
    datapath::AttachMode,
    health,
    init::{Ready, Request, Standalone, run as init},
    paths::Paths,
};

use crate::args::{Attach, InitArgs};

/// Prepares this machine and says what it is now.
pub fn run(paths: &Paths, args: &InitArgs) -> anyhow::Result<()> {
    let source = source(paths, args);
    let cluster = match source.path.exists() || args.cluster.is_some() {
        true => Some(source.load()?),
        false => None,
    };
    let ready = init(paths, &request(args, cluster)).context("init")?;
    for line in summary(&ready) {
        println!("{line}");
    }
    for warning in health::lost_journals(paths) {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

/// Where the cluster is agreed.
pub fn source(paths: &Paths, args: &InitArgs) -> FileSource {
    FileSource { path: args.cluster.clone().unwrap_or_else(|| paths.cluster_file()) }
}

/// What the arguments ask for.
pub fn request(args: &InitArgs, cluster: Option<ClusterSpec>) -> Request {
    let standalone = (!args.subnet.is_empty()).then(|| Standalone {
        subnets: args.subnet.clone(),
        reserved: Vec::new(),
        masquerade: true,
    });
    let attach = args.attach.map(|attach| match attach {
        Attach::Auto => AttachMode::Auto,
        Attach::Tcx => AttachMode::Tcx,
        Attach::Clsact => AttachMode::Clsact,
    });
    Request {
        node: args.node.clone(),
        cluster,
        attach,
        standalone,
        delegated: None,
        services: args.service_range.clone(),
        conflist: Some(!args.no_conflist),
        max_flows: args.max_flows,
        ..Request::default()
    }
}

/// What the node is, in a few lines.
pub fn summary(ready: &Ready) -> Vec<String> {
    let facts = &ready.facts;
    let blocks: Vec<String> =
        facts.blocks.iter().chain(facts.subnets.iter().flatten()).map(ToString::to_string).collect();
    let mut lines =
        vec![format!("node {}: blocks {}, pod mtu {}", facts.node, blocks.join(" "), facts.pod_mtu)];
    if let Some(attach) = ready.attach {
        lines.push(
            format!("tunnel: {attach:?}, {} other nodes", ready.memory.cluster.nodes.len() - 1)
                .to_lowercase(),
        );
    }
    let (maps, programs) = (ready.installed.maps_created.len(), ready.installed.programs_replaced.len());
    let changes = ready.changes.commands.len();
    lines.push(format!(
        "{maps} maps created, {programs} programs loaded, {changes} entries and routes changed"
    ));
    lines
}
