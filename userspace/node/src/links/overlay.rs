use super::{LinkError, Links, Mac};

/// The vxlan device as it should be: `collect_md`, learning off, no IPv6 link-local address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Name, at most 15 bytes.
    pub name: String,
    /// Outer UDP port.
    pub port: u16,
    /// MAC address; no other node's.
    pub mac: Mac,
    /// MTU in bytes.
    pub mtu: u32,
}

/// The overlay device after [`Links::ensure_overlay`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverlayState {
    /// Interface index.
    pub index: u32,
    /// Whether it was made anew, so that routes, neighbours and programs on it are gone.
    pub created: bool,
}

impl Links {
    /// Makes the overlay device be as `overlay` says and up; one of another kind or port under its name is replaced.
    ///
    /// # Errors
    /// [`LinkError::PortTaken`] (no device stays behind), or the kernel refuses.
    pub fn ensure_overlay(&self, overlay: &Overlay) -> Result<OverlayState, LinkError> {
        let _ = overlay;
        todo!()
    }

    /// Deletes the overlay device; `false` when it was gone already.
    ///
    /// # Errors
    /// [`LinkError::Foreign`] when the link of that name is no vxlan device; the kernel refuses.
    pub fn delete_overlay(&self, name: &str) -> Result<bool, LinkError> {
        let _ = name;
        todo!()
    }
}
