use crate::{
    datapath::{self, Interfaces, Pins, Pods},
    links::Links,
    store::StateStore,
};

/// The maps that attachments are entered in.
pub struct Maps {
    /// Where they are pinned; the filters' programs too.
    pub pins: Pins,
    /// Addresses.
    pub pods: Pods,
    /// Interfaces.
    pub interfaces: Interfaces,
}

impl Maps {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// [`datapath::Error::NotInstalled`] where one is not pinned.
    pub fn open(pins: Pins) -> datapath::Result<Self> {
        Ok(Self { pods: Pods::open(&pins)?, interfaces: Interfaces::open(&pins)?, pins })
    }
}

/// What a process works on attachments with; one of each.
pub struct Tools {
    /// The node's links.
    pub links: Links,
    /// Who holds which address.
    pub store: StateStore,
    /// The datapath's maps.
    pub maps: Maps,
}
