use std::os::fd::BorrowedFd;

use super::{LinkError, Links, Mac};

/// A veth pair to be made: one end here, the other born in a pod's namespace.
#[derive(Clone, Debug)]
pub struct PairSpec<'a> {
    /// Name of the end here, at most 15 bytes.
    pub host_name: &'a str,
    /// MAC address of the end here, the pod's gateway.
    pub host_mac: Mac,
    /// Alias of the end here, starting with [`super::ALIAS_PREFIX`], at most 255 bytes.
    pub alias: &'a str,
    /// Name of the end in the pod.
    pub pod_name: &'a str,
    /// MAC address of the end in the pod.
    pub pod_mac: Mac,
    /// MTU of both ends in bytes.
    pub mtu: u32,
}

impl Links {
    /// Makes the pair, both ends down, the end here with its alias and without IPv6 link-local address;
    /// returns the index of the end here.
    ///
    /// # Errors
    /// The kernel refuses ([`LinkError::is_present`] when either name is taken); then nothing stays behind.
    pub fn create_pair(&self, spec: &PairSpec<'_>, netns: BorrowedFd<'_>) -> Result<u32, LinkError> {
        let _ = (spec, netns);
        todo!()
    }
}
