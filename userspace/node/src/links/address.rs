use std::net::IpAddr;

use super::{LinkError, Links};

/// An address of this namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeAddress {
    /// The interface that holds it.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix in its own family's count.
    pub prefix_len: u8,
    /// Whether duplicate address detection is still running or has failed.
    pub unsettled: bool,
}

impl Links {
    /// Every address of the namespace, loopback and link-local ones too.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn addresses(&self) -> Result<Vec<NodeAddress>, LinkError> {
        todo!()
    }
}
