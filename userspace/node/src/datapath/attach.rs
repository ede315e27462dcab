use aya::programs::TcAttachType::{self, Egress, Ingress};
use naru_abi::programs::{FROM_OVERLAY, FROM_UNDERLAY, TO_OVERLAY, TO_UNDERLAY};

use super::{Error, Pins, Result, filters, program, strays, tcx};

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

impl AttachMode {
    /// As commands print it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// The two kinds of long-lived devices, each with a program of ours in each direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The tunnel device.
    Overlay,
    /// An uplink.
    Underlay,
}

impl Side {
    /// The program at ingress, then the one at egress.
    pub(super) const fn places(self) -> [(&'static str, TcAttachType); 2] {
        match self {
            Self::Overlay => [(FROM_OVERLAY, Ingress), (TO_OVERLAY, Egress)],
            Self::Underlay => [(FROM_UNDERLAY, Ingress), (TO_UNDERLAY, Egress)],
        }
    }
}

/// What is attached to a long-lived device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attachment {
    /// The mode found; `None` where nothing of ours is attached.
    pub mode: Option<AttachMode>,
    /// At ingress, the program that is pinned now.
    pub ingress: bool,
    /// At egress, the program that is pinned now.
    pub egress: bool,
}

impl Attachment {
    /// Whether both are.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.ingress && self.egress
    }
}

/// Attaches the pinned programs of `side` to the device `interface`; what is attached already is replaced without a
/// gap, links left of a dead device are discarded, whatever else of ours is attached is removed. Answers the mode used.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::NoTcx`] where tcx is forced and missing, and the kernel's.
pub fn attach(pins: &Pins, side: Side, interface: &str, mode: AttachMode) -> Result<AttachMode> {
    filters::must_exist(interface)?;
    let has_tcx = tcx::is_supported(interface);
    match mode {
        AttachMode::Tcx if !has_tcx => Err(Error::NoTcx(interface.to_owned())),
        AttachMode::Tcx | AttachMode::Auto if has_tcx => by_tcx(pins, side, interface),
        _ => by_clsact(pins, side, interface),
    }
}

fn by_tcx(pins: &Pins, side: Side, interface: &str) -> Result<AttachMode> {
    for (name, direction) in side.places() {
        tcx::put(pins, name, interface, direction)?;
        let kept = program::id(pins, name)?;
        strays::clear_tcx(interface, direction, |id| id == kept)?;
        strays::clear_filters(interface, direction, true)?;
    }
    Ok(AttachMode::Tcx)
}

fn by_clsact(pins: &Pins, side: Side, interface: &str) -> Result<AttachMode> {
    filters::add_clsact(interface)?;
    for (name, direction) in side.places() {
        filters::put(&mut program::open(pins, name)?, interface, direction)?;
        tcx::take_off(pins, name, interface, direction)?;
        strays::clear_tcx(interface, direction, |_| false)?;
        strays::clear_filters(interface, direction, false)?;
    }
    Ok(AttachMode::Clsact)
}

/// Detaches from `interface` in whatever mode; nothing attached, or no such device, is no error. A clsact qdisc that
/// held our filters and is empty now goes too.
///
/// # Errors
/// The kernel's.
pub fn detach(pins: &Pins, side: Side, interface: &str) -> Result<()> {
    let mut had_filters = false;
    for (name, direction) in side.places() {
        tcx::take_off(pins, name, interface, direction)?;
        match strays::clear_filters(interface, direction, true) {
            Err(error) if error.is_no_device() => return Ok(()),
            result => had_filters |= result?,
        }
        strays::clear_tcx(interface, direction, |_| false)?;
    }
    if had_filters { filters::drop_empty_clsact(interface) } else { Ok(()) }
}

/// Discards the links of `side` on devices other than `interfaces`: gone, or no longer of that kind.
///
/// # Errors
/// The kernel's.
pub fn detach_others(pins: &Pins, side: Side, interfaces: &[u32]) -> Result<()> {
    tcx::discard(pins, side.places().map(|(name, _)| name), interfaces)
}

/// What of ours is attached to `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn attachment(pins: &Pins, side: Side, interface: &str) -> Result<Attachment> {
    let [(from, ingress), (to, egress)] = side.places();
    let by_filter = |name, direction| filters::is_put(pins, name, interface, direction);
    let by_link = |name, direction| tcx::is_put(pins, name, interface, direction);
    let filters = (by_filter(from, ingress)?, by_filter(to, egress)?);
    let links = (by_link(from, ingress)?, by_link(to, egress)?);
    let mode = match (filters, links) {
        (_, (true, _) | (_, true)) => Some(AttachMode::Tcx),
        ((true, _) | (_, true), _) => Some(AttachMode::Clsact),
        _ => None,
    };
    Ok(Attachment { mode, ingress: filters.0 || links.0, egress: filters.1 || links.1 })
}
