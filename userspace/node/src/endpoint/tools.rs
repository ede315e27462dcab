use naru_netlink::links::Links;
use naru_store::StateStore;

use naru_bpf::{Interfaces, Pins, Pods};

use crate::symmetry::Records;

/// The maps that attachments are entered in.
pub struct Maps {
    /// The directory of the pins, also of the filters' programs.
    pub pins: Pins,
    /// Addresses.
    pub pods: Pods,
    /// Interfaces.
    pub interfaces: Interfaces,
    /// Flows of their addresses that the stack rewrites.
    pub records: Records,
}

impl Maps {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// [`naru_bpf::Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: Pins) -> naru_bpf::Result<Self> {
        let (pods, interfaces) = (Pods::open(&pins)?, Interfaces::open(&pins)?);
        Ok(Self { pods, interfaces, records: Records::open(&pins)?, pins })
    }
}

/// The tools with which a process works on attachments; one of each.
pub struct Tools {
    /// The node's links.
    pub links: Links,
    /// The store, which knows the holders of addresses.
    pub store: StateStore,
    /// The datapath's maps.
    pub maps: Maps,
}
