use anyhow::Context;
use naru_cluster::{FileSource, Source};
use naru_core::cluster::ClusterSpec;
use naru_node::{
    health,
    init::run as init,
    machine::{Request, Standalone},
    paths::Paths,
};

use crate::args::InitArgs;

/// Prepares this machine and says what it is now.
pub fn run(paths: &Paths, args: &InitArgs) -> anyhow::Result<()> {
    let source = source(paths, args);
    let cluster = match source.path.exists() || args.cluster.is_some() {
        true => Some(source.load()?),
        false => None,
    };
    let ready = init(paths, &request(args, cluster)).context("init")?;
    for line in ready.summary() {
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
        masquerade: true,
        ..Standalone::default()
    });
    Request {
        node: args.node.clone(),
        cluster,
        attach: args.attach,
        standalone,
        delegated: None,
        services: args.service_range.clone(),
        conflist: Some(!args.no_conflist),
        max_flows: args.max_flows,
        allow_overlap: args.allow_overlap,
        ..Request::default()
    }
}
