use aya::programs::TcAttachType::{self, Egress, Ingress};
use naru_abi::programs::{FROM_OVERLAY, FROM_UNDERLAY, TO_OVERLAY, TO_UNDERLAY};

use crate::{Error, Pins, Result, filters, program, strays, tcx};

/// The mode in which the programs are attached to a long-lived device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AttachMode {
    /// tcx where the kernel has it, else clsact.
    #[default]
    Auto,
    /// Pinned tcx links (6.6 and newer); our program is the last in the chain.
    Tcx,
    /// clsact filters.
    Clsact,
}

/// The text names no mode.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is none of auto, tcx, clsact")]
pub struct UnknownMode(String);

impl std::fmt::Display for AttachMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

impl std::str::FromStr for AttachMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownMode> {
        let all = [Self::Auto, Self::Tcx, Self::Clsact];
        all.into_iter().find(|mode| mode.label() == text).ok_or_else(|| UnknownMode(text.to_owned()))
    }
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

/// The kinds of long-lived devices, which decide which of our programs belong on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The tunnel device: one in each direction.
    Overlay,
    /// An uplink: one in each direction.
    Underlay,
    /// An uplink by which pods' packets reach other nodes only inside the tunnel: a program at ingress.
    UnderlayIngress,
}

/// A place at which a program of naru may be.
pub(crate) struct Place {
    pub(crate) program: &'static str,
    pub(crate) direction: TcAttachType,
    /// True if it belongs there.
    pub(crate) wanted: bool,
}

impl Side {
    /// The kind of an uplink; `sends_around` is true if pods' packets may leave by it without the tunnel.
    #[must_use]
    pub const fn of_uplink(sends_around: bool) -> Self {
        if sends_around { Self::Underlay } else { Self::UnderlayIngress }
    }

    /// The place at ingress, then the one at egress.
    pub(crate) const fn places(self) -> [Place; 2] {
        let [from, to] = match self {
            Self::Overlay => [FROM_OVERLAY, TO_OVERLAY],
            Self::Underlay | Self::UnderlayIngress => [FROM_UNDERLAY, TO_UNDERLAY],
        };
        let wanted = !matches!(self, Self::UnderlayIngress);
        [
            Place { program: from, direction: Ingress, wanted: true },
            Place { program: to, direction: Egress, wanted },
        ]
    }
}

/// The programs that are attached to a long-lived device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attachment {
    /// The mode that was found; `None` if nothing of ours is attached.
    pub mode: Option<AttachMode>,
    /// True if the program that is pinned now is at ingress, where one belongs.
    pub ingress: bool,
    /// True if the program that is pinned now is at egress, or if none belongs there and none is there.
    pub egress: bool,
}

impl Attachment {
    /// Returns true if both are as they should be.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.ingress && self.egress
    }
}

/// Attaches the pinned programs of `side` to the device `interface`. Programs that are attached already are replaced
/// without a gap, links left over from a dead device are discarded, and other programs of ours are removed. Returns the
/// mode used.
///
/// # Errors
/// [`Error::NotInstalled`], [`Error::NoTcx`] if tcx is forced and missing, and the kernel's.
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
    for Place { program, direction, wanted } in side.places() {
        let kept = if wanted {
            tcx::put(pins, program, interface, direction)?;
            Some(program::id(pins, program)?)
        } else {
            tcx::take_off(pins, program, interface, direction)?;
            None
        };
        strays::clear_tcx(interface, direction, |id| Some(id) == kept)?;
        strays::clear_filters(interface, direction, true)?;
    }
    Ok(AttachMode::Tcx)
}

fn by_clsact(pins: &Pins, side: Side, interface: &str) -> Result<AttachMode> {
    filters::add_clsact(interface)?;
    for Place { program, direction, wanted } in side.places() {
        if wanted {
            filters::put(&mut program::open(pins, program)?, interface, direction)?;
        }
        tcx::take_off(pins, program, interface, direction)?;
        strays::clear_tcx(interface, direction, |_| false)?;
        strays::clear_filters(interface, direction, !wanted)?;
    }
    Ok(AttachMode::Clsact)
}

/// Detaches from `interface` in whatever mode; it is no error if nothing is attached or the device does not exist. A
/// clsact qdisc that held our filters and is empty now is removed too.
///
/// # Errors
/// The kernel's.
pub fn detach(pins: &Pins, side: Side, interface: &str) -> Result<()> {
    let mut had_filters = false;
    for Place { program, direction, .. } in side.places() {
        tcx::take_off(pins, program, interface, direction)?;
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
    tcx::discard(pins, side.places().map(|place| place.program), interfaces)
}

/// The programs of naru that are attached to `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn attachment(pins: &Pins, side: Side, interface: &str) -> Result<Attachment> {
    let [ingress, egress] = side.places();
    let by_filter = |place: &Place| filters::is_put(pins, place.program, interface, place.direction);
    let by_link = |place: &Place| tcx::is_put(pins, place.program, interface, place.direction);
    let filters = (by_filter(&ingress)?, by_filter(&egress)?);
    let links = (by_link(&ingress)?, by_link(&egress)?);
    let mode = match (filters, links) {
        (_, (true, _) | (_, true)) => Some(AttachMode::Tcx),
        ((true, _) | (_, true), _) => Some(AttachMode::Clsact),
        _ => None,
    };
    let as_wanted = |place: &Place, found: bool| found == place.wanted;
    Ok(Attachment {
        mode,
        ingress: as_wanted(&ingress, filters.0 || links.0),
        egress: as_wanted(&egress, filters.1 || links.1),
    })
}
