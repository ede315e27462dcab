use super::{LinkError, Links, Mac};

/// What the alias of every host veth of ours starts with.
pub const ALIAS_PREFIX: &str = "naru1:";

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind as `ip -d link` names it (`veth`, `vxlan`), empty for hardware.
    pub kind: String,
    /// Alias, empty when there is none.
    pub alias: String,
    /// MAC address; `None` where the link layer has another form.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Index of the peer in the peer's own namespace.
    pub peer_index: Option<u32>,
    /// This namespace's number for the peer's namespace; `None` when the peer is in this one.
    pub peer_netnsid: Option<i32>,
}

/// A host veth of ours: its owner is in the alias.
pub type HostVeth = Link;

impl Links {
    /// The link of that name.
    ///
    /// # Errors
    /// The kernel refuses for another reason than the link's absence.
    pub fn link(&self, name: &str) -> Result<Option<Link>, LinkError> {
        let _ = name;
        todo!()
    }

    /// The link of that index.
    ///
    /// # Errors
    /// The kernel refuses for another reason than the link's absence.
    pub fn link_at(&self, index: u32) -> Result<Option<Link>, LinkError> {
        let _ = index;
        todo!()
    }

    /// Every host veth whose alias is ours ([`ALIAS_PREFIX`]).
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn host_veths(&self) -> Result<Vec<HostVeth>, LinkError> {
        todo!()
    }

    /// Deletes the veth of that name if its alias is ours; `false` when it was gone already.
    /// Its peer, its routes, neighbours and filters go with it.
    ///
    /// # Errors
    /// [`LinkError::Foreign`] when the alias is not ours; the kernel refuses.
    pub fn delete_host_veth(&self, name: &str) -> Result<bool, LinkError> {
        let _ = name;
        todo!()
    }
}
