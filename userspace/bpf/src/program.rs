//! Pinned programs.

use std::os::fd::AsFd;

use aya::{
    maps::MapInfo,
    programs::{ProgramInfo, SchedClassifier, loaded_programs},
};
use naru_abi::{maps, programs};

use crate::{
    Error, Pins, Result,
    install::{failed, refused},
    sys,
};

/// Opens a pinned program.
pub(crate) fn open(pins: &Pins, name: &'static str) -> Result<SchedClassifier> {
    let pin = pins.program(name);
    if !pin.exists() {
        return Err(Error::NotInstalled(pin));
    }
    SchedClassifier::from_pin(pin).map_err(refused(name, "open pin"))
}

/// The kernel's number of a pinned program.
pub(crate) fn id(pins: &Pins, name: &'static str) -> Result<u32> {
    let pin = pins.program(name);
    if !pin.exists() {
        return Err(Error::NotInstalled(pin));
    }
    ProgramInfo::from_pin(pin).map(|info| info.id()).map_err(refused(name, "open pin"))
}

/// The kernel's numbers of the maps that a pinned program uses.
pub(crate) fn maps(pins: &Pins, name: &'static str) -> Result<Vec<u32>> {
    let pin = pins.program(name);
    let told = sys::open(&pin).and_then(|program| sys::describe(program.as_fd()));
    told.map(|told| told.maps).map_err(failed(&pin, "read"))
}

/// The loaded program of that number.
pub(crate) fn loaded(id: u32) -> Option<ProgramInfo> {
    loaded_programs().filter_map(std::result::Result::ok).find(|info| info.id() == id)
}

/// Returns true if the program is ours, of whatever build and installation: it has one of our names, and uses a map
/// with one of our names.
pub(crate) fn is_ours(info: &ProgramInfo) -> bool {
    let is_named = info.name_as_str().is_some_and(is_name);
    let uses = |id: &u32| {
        let map = MapInfo::from_id(*id);
        map.is_ok_and(|map| map.name_as_str().is_some_and(|name| maps::ALL.contains(&name)))
    };
    is_named && info.map_ids().is_ok_and(|used| used.is_none_or(|used| used.iter().any(uses)))
}

/// Does the same for a program of which only the number is known. aya finds it only by listing all programs, so this is
/// for programs that bear our names.
pub(crate) fn is_number_ours(id: u32) -> bool {
    sys::name(id).is_ok_and(|name| is_name(&name)) && loaded(id).is_some_and(|program| is_ours(&program))
}

/// Returns true if programs of ours have this name.
pub(crate) fn is_name(name: &str) -> bool {
    programs::ALL.contains(&name)
}
