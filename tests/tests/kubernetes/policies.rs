//! Upstream's specs of NetworkPolicy, whoever translates Services and by whatever rules.

use std::collections::BTreeSet;

use anyhow::ensure;
use naru_e2e::kubernetes::{Shape, suite};

use super::{cluster_by, explained, is_clean, manifest, shape};

/// Specs of policies: those of the API alone are conformance's.
const FOCUS: &str = r"\[sig-network\] Netpol";
/// The kernel of a test machine need not have SCTP.
const NOT_HERE: &str = "SCTPConnectivity";
/// There are at least so many of them.
const LEAST: u32 = 48;

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn every_policy_spec_passes_where_the_programs_translate_services() {
    passes("nftables", "auto");
    passes("iptables", "auto");
}

#[test]
#[ignore = "needs a Kubernetes: cargo xtask test --kubernetes"]
fn every_policy_spec_passes_where_kube_proxy_translates_services() {
    passes("nftables", "stack");
    passes("iptables", "stack");
}

fn passes(proxy: &str, services: &str) {
    let setting = |value: &str| format!("services = \"{value}\"");
    assert!(manifest().contains(&setting("auto")));
    let manifest = manifest().replace(&setting("auto"), &setting(services));
    let cluster = cluster_by(Shape { proxy: proxy.to_owned(), ..shape() }, &manifest);
    explained(&cluster, || {
        suite::import_images(&cluster)?;
        let outcome = suite::run(&cluster, FOCUS, NOT_HERE)?;
        let mut failed = outcome.failed;
        println!("kube-proxy {proxy}, services {services}: {} specs passed", outcome.passed);
        ensure!(outcome.passed + u32::try_from(failed.len())? >= LEAST, "{} of {LEAST} ran", outcome.passed);
        // Specs of a time fail where others load the machine: what fails alone, too, is a fault.
        if !failed.is_empty() {
            println!("again: {failed:#?}");
            failed = suite::run(&cluster, &suite::focus(&failed), NOT_HERE)?.failed;
        }
        ensure!(failed == BTreeSet::new(), "kube-proxy {proxy}, services {services}: {failed:#?}");
        is_clean(&cluster)
    });
}
