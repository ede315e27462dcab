use super::{Pins, Result};

/// How the programs are attached to a long-lived device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AttachMode {
    /// tcx where the kernel has it, else clsact.
    #[default]
    Auto,
    /// Pinned tcx links (6.6 and newer), ours last in the chain.
    Tcx,
    /// clsact filters.
    Clsact,
}

/// What is attached to the overlay device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OverlayAttachment {
    /// The mode found; `None` where nothing of ours is attached.
    pub mode: Option<AttachMode>,
    /// `from_overlay` at ingress, the program that is pinned now.
    pub from_overlay: bool,
    /// `to_overlay` at egress, the program that is pinned now.
    pub to_overlay: bool,
}

impl OverlayAttachment {
    /// Whether both are.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.from_overlay && self.to_overlay
    }
}

/// Attaches the pinned programs to the vxlan device `interface`; what is attached already is replaced without a gap,
/// links left of a dead device are discarded, the other mode's attachment is removed. Answers the mode used.
///
/// # Errors
/// [`super::Error::NotInstalled`], [`super::Error::NoTcx`] where tcx is forced and missing, and the kernel's.
pub fn attach_overlay(pins: &Pins, interface: &str, mode: AttachMode) -> Result<AttachMode> {
    let _ = (pins, interface, mode);
    todo!()
}

/// Detaches from `interface` in whatever mode; nothing attached, or no such device, is no error.
///
/// # Errors
/// The kernel's.
pub fn detach_overlay(pins: &Pins, interface: &str) -> Result<()> {
    let _ = (pins, interface);
    todo!()
}

/// What of ours is attached to `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn overlay_attachment(pins: &Pins, interface: &str) -> Result<OverlayAttachment> {
    let _ = (pins, interface);
    todo!()
}
