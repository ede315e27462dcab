//! Reads a whole hash map in few system calls (`BPF_MAP_LOOKUP_BATCH`, 5.6 and newer; aya has no such call).
//!
//! A listing key by key may end too early, or never, if the map changes meanwhile: an entry that is gone has no
//! successor.

use std::{
    io, iter,
    os::fd::{AsFd, AsRawFd},
};

use aya::maps::{MapData, MapError};
use naru_abi::Plain;

use crate::{
    map::Raw,
    sys::{self, request},
};

/// `BPF_MAP_LOOKUP_BATCH` (`enum bpf_cmd`).
const LOOKUP_BATCH: libc::c_int = 24;
/// Number of entries in one call. A bucket that has more is read with a larger buffer.
const CHUNK: usize = 1024;

request! {
    /// The arm `batch` of `union bpf_attr`.
    struct BatchAttr {
        /// The place to continue: null at first, else the value that the call before left at `out_batch`.
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        /// Room, then entries.
        count: u32,
        map: u32,
        element_flags: u64,
        flags: u64,
    }
}

/// Returns every entry of a hash map, in no order. An entry that exists throughout is returned exactly once.
pub(crate) fn entries<K: Plain, V: Plain>(map: &MapData) -> Result<Vec<(K, V)>, MapError> {
    let (info, sizes) = (map.info()?, [size_of::<K>(), size_of::<V>()]);
    let [key, value] = [info.key_size(), info.value_size()].map(|size| size as usize);
    if key != sizes[0] {
        return Err(MapError::InvalidKeySize { size: sizes[0], expected: key });
    }
    if value != sizes[1] {
        return Err(MapError::InvalidValueSize { size: sizes[1], expected: value });
    }
    let mut all = Vec::new();
    let mut room = CHUNK;
    let mut position: Option<u32> = None;
    loop {
        let (result, next, chunk) = chunk(map, position, room);
        match result {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                room *= 2;
                continue;
            }
            // The end; what was left comes along.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                all.extend(chunk);
                return Ok(all);
            }
            Err(io_error) => {
                let call = "bpf_map_lookup_batch";
                return Err(MapError::SyscallError(aya::sys::SyscallError { call, io_error }));
            }
        }
        all.extend(chunk);
        position = Some(next);
    }
}

type Chunk<K, V> = (io::Result<()>, u32, Vec<(K, V)>);

/// Returns up to `room` entries from `position` on, and the next position.
fn chunk<K: Plain, V: Plain>(map: &MapData, position: Option<u32>, room: usize) -> Chunk<K, V> {
    let mut keys = Vec::<Raw<K>>::with_capacity(room);
    let mut values = Vec::<Raw<V>>::with_capacity(room);
    let mut next = 0u32;
    let mut request = BatchAttr {
        in_batch: position.as_ref().map_or(0, |position| std::ptr::from_ref(position) as u64),
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(room).unwrap_or(u32::MAX),
        map: map.fd().as_fd().as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the request names buffers that live until the call returns and have room for the requested entries; the
    // caller compared the sizes of keys and values with the map's.
    let result = unsafe { sys::call(LOOKUP_BATCH, &mut request) }.map(drop);
    let is_filled = match &result {
        Ok(()) => true,
        Err(error) => error.raw_os_error() == Some(libc::ENOENT),
    };
    let filled = if is_filled { (request.count as usize).min(room) } else { 0 };
    // SAFETY: the kernel wrote that many of both, and any bytes are a `Plain` value.
    unsafe {
        keys.set_len(filled);
        values.set_len(filled);
    }
    (result, next, iter::zip(keys, values).map(|(Raw(key), Raw(value))| (key, value)).collect())
}
