use aya::programs::TcAttachType::{self, Egress, Ingress};
use naru_abi::programs::{FROM_OVERLAY, TO_OVERLAY};

use super::{Error, Pins, Result, filters, program, tcx};

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

const PLACES: [(&str, TcAttachType); 2] = [(FROM_OVERLAY, Ingress), (TO_OVERLAY, Egress)];

/// Attaches the pinned programs to the vxlan device `interface`; what is attached already is replaced without a gap,
/// links left of a dead device are discarded, the other mode's attachment is removed. Answers the mode used.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::NoTcx`] where tcx is forced and missing, and the kernel's.
pub fn attach_overlay(pins: &Pins, interface: &str, mode: AttachMode) -> Result<AttachMode> {
    filters::must_exist(interface)?;
    let has_tcx = tcx::is_supported(interface);
    match mode {
        AttachMode::Tcx if !has_tcx => Err(Error::NoTcx(interface.to_owned())),
        AttachMode::Tcx | AttachMode::Auto if has_tcx => by_tcx(pins, interface),
        _ => by_clsact(pins, interface),
    }
}

fn by_tcx(pins: &Pins, interface: &str) -> Result<AttachMode> {
    for (name, direction) in PLACES {
        tcx::put(pins, name, interface, direction)?;
        filters::take_off(interface, direction)?;
    }
    Ok(AttachMode::Tcx)
}

fn by_clsact(pins: &Pins, interface: &str) -> Result<AttachMode> {
    filters::add_clsact(interface)?;
    for (name, direction) in PLACES {
        filters::put(&mut program::open(pins, name)?, interface, direction)?;
        tcx::take_off(pins, name, interface, direction)?;
    }
    Ok(AttachMode::Clsact)
}

/// Detaches from `interface` in whatever mode; nothing attached, or no such device, is no error.
///
/// # Errors
/// The kernel's.
pub fn detach_overlay(pins: &Pins, interface: &str) -> Result<()> {
    for (name, direction) in PLACES {
        tcx::take_off(pins, name, interface, direction)?;
        match filters::take_off(interface, direction) {
            Err(error) if error.is_no_device() => {}
            result => result?,
        }
    }
    Ok(())
}

/// What of ours is attached to `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn overlay_attachment(pins: &Pins, interface: &str) -> Result<OverlayAttachment> {
    let by_filter = |name, direction| filters::is_put(pins, name, interface, direction);
    let by_link = |name, direction| tcx::is_put(pins, name, interface, direction);
    let filters = (by_filter(FROM_OVERLAY, Ingress)?, by_filter(TO_OVERLAY, Egress)?);
    let links = (by_link(FROM_OVERLAY, Ingress)?, by_link(TO_OVERLAY, Egress)?);
    let mode = match (filters, links) {
        (_, (true, _) | (_, true)) => Some(AttachMode::Tcx),
        ((true, _) | (_, true), _) => Some(AttachMode::Clsact),
        _ => None,
    };
    Ok(OverlayAttachment { mode, from_overlay: filters.0 || links.0, to_overlay: filters.1 || links.1 })
}
