//! Upstream's conformance specs of the network. What fails with naru must fail with the reference plugins as well.

use std::collections::BTreeSet;

use anyhow::ensure;
use naru_e2e::kubernetes::{Cluster, Shape, reference, suite, talk};

use super::{PATIENCE, cluster, explained, is_clean, shape};

/// Specs of the network that cannot run here, or that are no network plugin's: those of conformance have a test of
/// their own; the others want a cloud, the Internet, images of a registry, SCTP, policies, features that are off, or to
/// change the name server or the control plane. One reads what conntrack has of a pod's connection to another node, at
/// the pod's own node: the programs send such packets on, and the stack never sees them.
const NOT_HERE: &str = concat!(
    r"\[Conformance\]|LoadBalancer|SCTP|NetworkPolicy|Netpol|\[Provider:|\[Disruptive\]|\[Serial\]|\[FeatureGate:|",
    r"Internet connection|LocalhostNodePorts|KubeProxyNFAcct|Networking-Performance|kube-proxy urls|CLOSE_WAIT"
);

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn every_network_conformance_spec_passes_in_both_modes_of_kube_proxy() {
    for proxy in ["nftables", "iptables"] {
        passes(proxy, r"\[sig-network\].*\[Conformance\]", "", 40);
    }
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn the_other_network_specs_that_can_run_here_pass() {
    passes("nftables", r"\[sig-network\]", NOT_HERE, 80);
}

/// Specs fail only where they fail with the reference plugins as well; there are more than `least` of them.
fn passes(proxy: &str, focus: &str, skip: &str, least: u32) {
    let mut failed = BTreeSet::new();
    {
        let cluster = cluster(Shape { proxy: proxy.to_owned(), ..shape() });
        explained(&cluster, || {
            suite::import_images(&cluster)?;
            let outcome = suite::run(&cluster, focus, skip)?;
            println!("kube-proxy {proxy}: {} specs passed", outcome.passed);
            ensure!(outcome.passed + u32::try_from(outcome.failed.len())? > least, "{outcome:?}");
            // Specs of a time fail where others load the machine: what fails alone, too, is looked at.
            if !outcome.failed.is_empty() {
                println!("again: {:#?}", outcome.failed);
                failed = suite::run(&cluster, &suite::focus(&outcome.failed), skip)?.failed;
            }
            is_clean(&cluster)
        });
    }
    assert!(failed.is_empty() || fails_with_the_reference(proxy, &failed), "kube-proxy {proxy}: {failed:#?}");
}

/// True if all of these specs fail on this machine with the reference plugins as well.
fn fails_with_the_reference(proxy: &str, failed: &BTreeSet<String>) -> bool {
    let cluster = Cluster::start(Shape { proxy: proxy.to_owned(), ..shape() }).unwrap();
    let mut theirs = BTreeSet::new();
    explained(&cluster, || {
        reference::install(&cluster, &[1, 2])?;
        cluster.wait_for_nodes(PATIENCE)?;
        cluster.start_name_server()?;
        talk::start(&cluster)?;
        suite::import_images(&cluster)?;
        theirs = suite::run(&cluster, &suite::focus(failed), "")?.failed;
        Ok(())
    });
    println!("kube-proxy {proxy}: fail with naru: {failed:#?}, with the reference bridge: {theirs:#?}");
    failed.is_subset(&theirs)
}
