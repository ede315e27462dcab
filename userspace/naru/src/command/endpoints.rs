use std::net::IpAddr;

use naru_abi::PodValue;
use naru_bpf::Pods;
use naru_netlink::links::Mac;
use naru_node::paths::Paths;
use serde::Serialize;

use crate::report::{OutputArgs, Owners, Table, print_json};

/// One entry of `PODS`; the names of the map's fields are the map's own. `naru endpoints --json` is a list of these,
/// in the order of their addresses.
#[derive(Serialize)]
struct Endpoint {
    /// The key.
    address: IpAddr,
    /// Number of the address's assignment.
    generation: u64,
    /// Index of the veth on the node.
    ifindex: u32,
    /// Bits of `naru_abi::pod_flags`.
    flags: u32,
    /// MTU in bytes.
    mtu: u32,
    /// `02:00:00:00:00:01`
    pod_mac: String,
    /// `02:00:00:00:00:02`
    host_mac: String,
    /// Name of the veth on the node, empty when it is gone.
    interface: String,
    /// The pod, empty when unknown.
    pod: String,
}

/// Prints every pod address of this node that the datapath knows.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<()> {
    let entries = Pods::open(&paths.pins())?.entries()?;
    let owners = Owners::read(paths);
    let mut endpoints: Vec<Endpoint> =
        entries.into_iter().map(|(address, value)| endpoint(address.into(), value, &owners)).collect();
    endpoints.sort_by_key(|endpoint| endpoint.address);
    if args.json {
        return print_json(&endpoints);
    }
    let mut table =
        Table::new(&["IP", "POD", "INTERFACE", "IFINDEX", "MTU", "POD MAC", "HOST MAC", "GENERATION"]);
    for one in endpoints {
        let numbers = [one.ifindex.to_string(), one.mtu.to_string()];
        let [ifindex, mtu] = numbers;
        let generation = one.generation.to_string();
        let ip = one.address.to_string();
        table.row(vec![ip, one.pod, one.interface, ifindex, mtu, one.pod_mac, one.host_mac, generation]);
    }
    out!("{table}");
    Ok(())
}

fn endpoint(address: IpAddr, value: PodValue, owners: &Owners) -> Endpoint {
    let PodValue { generation, ifindex, mtu, pod_mac, host_mac, .. } = value;
    let flags = value.flags | value.marks();
    Endpoint {
        address,
        generation,
        ifindex,
        flags,
        mtu,
        pod_mac: Mac(pod_mac).to_string(),
        host_mac: Mac(host_mac).to_string(),
        interface: owners.interface(ifindex).to_owned(),
        pod: owners.of_address(address, ifindex).to_owned(),
    }
}
