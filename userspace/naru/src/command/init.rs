use anyhow::Context;
use naru_cluster::file::{self, FileSource};
use naru_core::cluster::ClusterSpec;
use naru_node::{
    init::run as init,
    machine::{MachineError, OWN_NETWORK, Request, Settings, Standalone},
    paths::Paths,
};

use crate::args::InitArgs;

/// Prepares this machine and prints a summary.
pub fn run(paths: &Paths, args: &InitArgs) -> anyhow::Result<()> {
    let source = source(paths, args);
    let cluster = match source.path.exists() || args.cluster.is_some() {
        true => Some(file::load(&source.path)?),
        false => None,
    };
    if let Err(damage @ MachineError::DamagedSettings { .. }) = Settings::load(paths) {
        eprintln!("warning: {damage}");
    }
    let request = Request { begins_anew: true, ..request(paths, args, cluster)? };
    let ready = init(paths, &request).context("init")?;
    for line in ready.summary() {
        outln!("{line}");
    }
    for warning in &ready.warnings {
        eprintln!("warning: {warning}");
    }
    for finding in naru_view::lost_identities(paths) {
        errln!("warning: {finding}; {}", finding.remedy);
    }
    ready.changes.complete().context("init")
}

/// The source of the cluster.
pub fn source(paths: &Paths, args: &InitArgs) -> FileSource {
    FileSource { path: args.cluster.clone().unwrap_or_else(|| paths.cluster_file()) }
}

/// The request that the arguments make. Subnets that are a pool already keep its properties.
pub fn request(paths: &Paths, args: &InitArgs, cluster: Option<ClusterSpec>) -> anyhow::Result<Request> {
    let known = match Settings::load(paths) {
        // An explicit init starts over.
        Err(MachineError::DamagedSettings { .. }) => None,
        known => known?,
    };
    let pools = known.map(|settings| settings.pools).unwrap_or_default();
    let is_known = pools.iter().any(|pool| pool.subnets == args.subnet);
    let standalone = (!args.subnet.is_empty()).then(|| Standalone {
        network: OWN_NETWORK.to_owned(),
        subnets: args.subnet.clone(),
        masquerade: (!is_known).then_some(true),
        ..Standalone::default()
    });
    Ok(Request {
        node: args.node.clone(),
        cluster,
        attach: args.attach,
        standalone,
        delegated: None,
        services: args.service_range.clone(),
        conflist: Some(!args.no_conflist),
        max_flows: args.max_flows,
        allow_overlap: args.allow_overlap,
        import: args.import.clone(),
        fixed_ranges: args.fixed_ranges,
        new_machine: args.new_machine,
        ..Request::default()
    })
}
