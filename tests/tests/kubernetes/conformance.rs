//! Upstream's conformance specs of the network. What fails with naru must fail with the reference plugins as well.

use std::collections::BTreeSet;

use anyhow::ensure;
use naru_e2e::kubernetes::{Cluster, Shape, reference, suite, talk};

use super::{PATIENCE, cluster, explained, is_clean, shape};

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn every_network_conformance_spec_passes_in_both_modes_of_kube_proxy() {
    for proxy in ["nftables", "iptables"] {
        let mut failed = BTreeSet::new();
        {
            let cluster = cluster(Shape { proxy: proxy.to_owned(), ..shape() });
            explained(&cluster, || {
                suite::import_images(&cluster)?;
                let outcome = suite::run(&cluster, r"\[sig-network\].*\[Conformance\]", "")?;
                println!("kube-proxy {proxy}: {} specs passed", outcome.passed);
                ensure!(outcome.passed + u32::try_from(outcome.failed.len())? > 40, "{outcome:?}");
                // Specs of a time fail where others load the machine: what fails alone, too, is looked at.
                if !outcome.failed.is_empty() {
                    println!("again: {:#?}", outcome.failed);
                    failed = suite::run(&cluster, &suite::focus(&outcome.failed), "")?.failed;
                }
                is_clean(&cluster)
            });
        }
        assert!(
            failed.is_empty() || fails_with_the_reference(proxy, &failed),
            "kube-proxy {proxy}: {failed:#?}"
        );
    }
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
