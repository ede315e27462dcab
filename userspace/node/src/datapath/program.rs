//! Pinned programs.

use aya::programs::{ProgramInfo, SchedClassifier};

use super::{Error, Pins, Result, install::refused};

/// Opens a pinned program.
pub(super) fn open(pins: &Pins, name: &'static str) -> Result<SchedClassifier> {
    let pin = pins.program(name);
    if !pin.exists() {
        return Err(Error::NotInstalled(pin));
    }
    SchedClassifier::from_pin(pin).map_err(refused(name, "open pin"))
}

/// The kernel's number of a pinned program.
pub(super) fn id(pins: &Pins, name: &'static str) -> Result<u32> {
    let pin = pins.program(name);
    if !pin.exists() {
        return Err(Error::NotInstalled(pin));
    }
    ProgramInfo::from_pin(pin).map(|info| info.id()).map_err(refused(name, "open pin"))
}
