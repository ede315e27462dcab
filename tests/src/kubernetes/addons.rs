//! Objects that every cluster has beside its nodes.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Context;
use ipnet::IpNet;

use super::images::COREDNS;

/// The name server's address: the tenth of the Services' first range, as kubeadm has it.
pub fn name_server_address(services: &str) -> anyhow::Result<String> {
    nth(services.split(',').next().unwrap_or_default(), 10)
}

/// The addresses of the Service of the API server: the first of each range.
pub fn api_addresses(services: &str) -> anyhow::Result<Vec<String>> {
    services.split(',').map(|range| nth(range, 1)).collect()
}

fn nth(range: &str, number: u8) -> anyhow::Result<String> {
    let range: IpNet = range.parse().with_context(|| format!("{range}: range of Services"))?;
    Ok(match range {
        IpNet::V4(range) => Ipv4Addr::from_bits(range.network().to_bits() + u32::from(number)).to_string(),
        IpNet::V6(range) => Ipv6Addr::from_bits(range.network().to_bits() + u128::from(number)).to_string(),
    })
}

/// The manifest of the cluster's name server.
pub fn name_server(services: &str) -> anyhow::Result<String> {
    let address = name_server_address(services)?;
    Ok(include_str!("coredns.yaml").replace("ADDRESS", &address).replace("IMAGE", COREDNS))
}
