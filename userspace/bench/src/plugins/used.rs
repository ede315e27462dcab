use std::{fs, net::IpAddr, path::Path};

use anyhow::Context;
use ipnet::IpNet;
use naru_core::{
    ids::AttachmentId,
    ipam::{AddressRequest, AddressSet, Domain, Subnet},
};
use naru_node::host;
use naru_store::StateStore;

/// Assigns `count` addresses of `subnet` in naru-ipam's domain of the network `bench`; its pool is there already.
///
/// # Errors
/// The store refuses.
pub fn in_naru_ipam(run: &Path, subnet: IpNet, count: u32) -> anyhow::Result<()> {
    let mut store = StateStore::open(&run.join("state.db"), &host::boot_id()?)?;
    let gateway = subnet.hosts().next();
    let sets = [AddressSet { subnets: vec![Subnet::whole(subnet, gateway)] }];
    for number in 0..count {
        let owner = AttachmentId::new("bench", format!("used{number}"), "eth0")?;
        store.reserve_from_each(
            &AddressRequest::new(Domain::ipam("bench"), "", owner),
            &sets,
            host::now(),
        )?;
    }
    Ok(())
}

/// Writes the files that host-local keeps for `addresses` into `directory`.
///
/// # Errors
/// They cannot be written.
pub fn in_host_local(directory: &Path, addresses: impl Iterator<Item = IpAddr>) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut last = None;
    for (number, address) in addresses.enumerate() {
        let path = directory.join(address.to_string());
        fs::write(&path, format!("used{number}\r\neth0")).with_context(|| path.display().to_string())?;
        last = Some(address);
    }
    let last = last.context("no address to write")?;
    fs::write(directory.join("last_reserved_ip.0"), last.to_string()).context("last_reserved_ip.0")
}
