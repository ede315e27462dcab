use std::net::IpAddr;

use super::{LinkError, Links, Mac};

/// A permanent neighbour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Neighbour {
    /// The interface.
    pub index: u32,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
}

impl Links {
    /// The permanent neighbours on the interface.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub fn neighbours(&self, index: u32) -> Result<Vec<Neighbour>, LinkError> {
        let _ = index;
        todo!()
    }

    /// Adds the permanent neighbour or gives it this MAC address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure_neighbour(&self, neighbour: &Neighbour) -> Result<(), LinkError> {
        let _ = neighbour;
        todo!()
    }

    /// Removes the neighbour; `false` when it was gone already.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn delete_neighbour(&self, index: u32, ip: IpAddr) -> Result<bool, LinkError> {
        let _ = (index, ip);
        todo!()
    }
}
