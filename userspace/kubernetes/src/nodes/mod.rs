//! A Node object as a node: its addresses for others, its blocks, and its relation to the cluster.

mod object;

use std::net::IpAddr;

use ipnet::IpNet;
use naru_cluster::{Problem, rules::is_usable};

use crate::follow::Kind;
use object::Object;

/// All Node objects.
pub const PATH: &str = "/api/v1/nodes";

/// The annotation by which an administrator sets the addresses that other nodes use: a list with commas, the tunnel's
/// end first. The internal addresses follow them: with address translation they are those that the machine itself has.
pub const ADDRESSES: &str = "naru.dev/node-addresses";

/// The contents of a Node object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Addresses for others, at most those that a node can have; empty if the object has none.
    pub addresses: Vec<IpAddr>,
    /// The blocks that the cluster gave it.
    pub blocks: Vec<IpNet>,
    /// Its standing.
    pub standing: Standing,
    /// The machine's identity; empty if it is not known.
    pub machine: String,
    /// The zone, by the label `topology.kubernetes.io/zone`; empty: none.
    pub zone: String,
    /// True if a cloud waits for the network to be said available.
    pub is_unavailable: bool,
    /// The state of the store in which the blocks came while they were watched; 0 if they came in a list.
    pub since: u64,
}

/// The relation of a Node to the cluster: a node of ours, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A Linux machine.
    Ours,
    /// A machine with another operating system.
    OtherSystem,
    /// No machine: a virtual kubelet.
    Virtual,
}

impl Standing {
    /// The words for people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ours => "node",
            Self::OtherSystem => "not ours: another operating system",
            Self::Virtual => "not ours: a virtual kubelet",
        }
    }
}

impl Kind for Node {
    fn read(object: &[u8]) -> Result<Self, String> {
        let object: Object = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        let standing = object.standing();
        let (addresses, blocks) = match standing {
            Standing::Ours => (addresses(&object)?, blocks(&object)?),
            _ => (Vec::new(), Vec::new()),
        };
        let (is_unavailable, zone) = (object.is_unavailable(), object.zone().to_owned());
        let machine = object.status.node_info.machine_id;
        Ok(Self { addresses, blocks, standing, machine, zone, is_unavailable, since: 0 })
    }

    fn succeed(&mut self, before: Option<&Self>, revision: Option<u64>) {
        self.since = match before {
            Some(before) if before.blocks == self.blocks => before.since,
            _ => revision.unwrap_or(0),
        };
    }
}

/// Returns the addresses of the annotation, then the internal ones that a node can have, each once.
fn addresses(object: &Object) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::new();
    if let Some(list) = object.metadata.annotations.get(ADDRESSES) {
        for text in list.split(',').map(str::trim) {
            let wrong = |problem: Problem| format!("annotation {ADDRESSES}: {problem}");
            let address: IpAddr = text.parse().map_err(|_| wrong(Problem::NotAnAddress(text.to_owned())))?;
            if !is_usable(address) {
                return Err(wrong(Problem::UnusableAddress(address)));
            }
            push(&mut addresses, address);
        }
    }
    for text in object.internal_addresses() {
        let address: IpAddr = text.parse().map_err(|_| format!("InternalIP {text} is not an address"))?;
        if is_usable(address) {
            push(&mut addresses, address);
        }
    }
    Ok(addresses)
}

fn push(addresses: &mut Vec<IpAddr>, address: IpAddr) {
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

fn blocks(object: &Object) -> Result<Vec<IpNet>, String> {
    let mut blocks = Vec::new();
    for text in object.pod_cidrs() {
        let wrong = |problem: Problem| format!("podCIDR {problem}");
        let given: IpNet = text.parse().map_err(|_| wrong(Problem::NotANetwork(text.to_owned())))?;
        let network = given.trunc();
        if given != network {
            return Err(wrong(Problem::HostBits { given, network }));
        }
        if network.prefix_len() == 0 {
            return Err(wrong(Problem::NotANetwork(text.to_owned())));
        }
        if !blocks.contains(&network) {
            blocks.push(network);
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests;
