use std::{collections::BTreeMap, net::IpAddr};

use naru_core::ipam::Row;
use naru_netlink::links::Links;
use naru_node::{host, machine::MARKS, paths::Paths};
use naru_store::StateStore;

/// Owners of interfaces and addresses: from the store, else from the interface's alias.
#[derive(Debug, Default)]
pub struct Owners {
    names: BTreeMap<u32, String>,
    interfaces: BTreeMap<u32, String>,
    addresses: BTreeMap<IpAddr, String>,
}

impl Owners {
    /// Reads the store and the interfaces; whatever of them cannot be read is left out.
    pub fn read(paths: &Paths) -> Self {
        let mut owners = Self::default();
        let veths = Links::open(MARKS).and_then(|links| links.host_veths()).unwrap_or_default();
        for veth in veths {
            let alias = veth.alias.strip_prefix(MARKS.alias_prefix).unwrap_or(&veth.alias).to_owned();
            owners.names.insert(veth.index, alias);
            owners.interfaces.insert(veth.index, veth.name);
        }
        let boot_id = host::boot_id().unwrap_or_default();
        let rows = StateStore::open(&paths.lease_store(), &boot_id).and_then(|store| store.rows());
        for row in rows.unwrap_or_default().iter().filter(|row| row.ifindex != 0) {
            owners.take(row);
        }
        owners
    }

    /// The pod behind the interface: `default/web-0`, or the attachment where the runtime named no pod; empty if
    /// unknown.
    pub fn of_interface(&self, ifindex: u32) -> &str {
        self.names.get(&ifindex).map_or("", String::as_str)
    }

    /// The pod that holds the address, else the one behind the interface.
    pub fn of_address(&self, address: IpAddr, ifindex: u32) -> &str {
        self.addresses.get(&address).map_or_else(|| self.of_interface(ifindex), String::as_str)
    }

    /// Name of the interface, empty if there is none.
    pub fn interface(&self, ifindex: u32) -> &str {
        self.interfaces.get(&ifindex).map_or("", String::as_str)
    }

    fn take(&mut self, row: &Row) {
        let Some(owner) = &row.owner else { return };
        let name = if row.pod.is_empty() { owner.to_string() } else { row.pod.to_string() };
        self.names.insert(row.ifindex, name.clone());
        self.addresses.insert(row.address, name);
    }
}
