//! Opening of a pinned map by its type, and the one place where our plain types reach aya.

use std::path::Path;

use aya::maps::{Map, MapData, MapError};
use naru_abi::Plain;

use crate::{Error, Pins, Result};

/// A plain type as aya's maps take it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Raw<T>(pub T);

// SAFETY: `Plain` promises a fixed layout without padding in which every bit pattern is a value.
unsafe impl<T: Plain> aya::Pod for Raw<T> {}

/// `BPF_EXIST` (`include/uapi/linux/bpf.h`): an element is replaced, and none is made.
pub(crate) const EXIST: u64 = 2;

/// Opens the pinned map `name` as an `M`.
pub(crate) fn open<M>(pins: &Pins, name: &'static str) -> Result<M>
where
    M: TryFrom<Map, Error = MapError>,
{
    let data = data(&pins.map(name), name)?;
    Map::from_map_data(data).and_then(M::try_from).map_err(failed(name, "open"))
}

/// The map pinned at `path`, whatever its type.
pub(crate) fn data(path: &Path, name: &'static str) -> Result<MapData> {
    MapData::from_pin(path).map_err(|source| match path.exists() {
        true => failed(name, "open pin")(source),
        false => Error::NotInstalled(path.to_owned()),
    })
}

/// Wraps aya's error for `map_err`.
pub(crate) fn failed(map: &'static str, action: &'static str) -> impl FnOnce(MapError) -> Error {
    move |source| Error::Map { map, action, source }
}

/// Turns "no such key" into `None`.
pub(crate) fn present<T>(
    result: std::result::Result<T, MapError>,
) -> std::result::Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound | MapError::ElementNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}
