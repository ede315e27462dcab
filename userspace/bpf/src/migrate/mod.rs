//! From an older version of the ABI to this one, under running traffic and without a packet lost.
//!
//! 1. The new maps and programs are made beside the old ones ([`crate::install`]), and filled: what old programs
//!    learned is converted ([`Migration::copy`]), the rest is written by the node's plan. Old programs do all the
//!    work.
//! 2. Wherever an old program is, its successor takes its place ([`Migration::swap`]): ingress first, then egress.
//!    Until all are, one map of flows is written and the other read. So the new maps are *held*: no packet fits an
//!    MTU of 0, and what does not fit takes the node's stack, which restores every address by itself. A packet is
//!    decided by one program, the old or the new.
//! 3. What old programs learned meanwhile is copied once more, and the hold ends ([`Migration::settle`]).
//! 4. The old pins go ([`Migration::discard`]).
//!
//! Marks in the new directory say how far it came; whoever is killed is followed by one who goes on from there.
//! `ROUTES` and `CONFIG` are not converted but written by the plan, which knows all that is in them. `NEXT_HOPS`
//! starts empty: it remembers the kernel's answers for a quarter of a second.

mod abi4;
mod code;
mod copy;
mod counters;
mod hold;
mod mover;
mod swap;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use naru_abi::maps;

use crate::{Error, Pins, Result};

/// Versions whose layouts [`abi4`] describes: 3 differs from 4 in `WAYS` alone.
const KNOWN: std::ops::RangeInclusive<u32> = 3..=4;

/// Maps that are converted.
const CONVERTED: [&str; 6] =
    [maps::PODS, maps::INTERFACES, maps::FLOWS, maps::STATS, maps::POD_SLOTS, maps::POD_STATS];

/// A mark in the new directory while programs are swapped: from then on new programs write, too.
const SWAPPING: &str = "swapping";
/// A mark in the new directory once everything is copied: the old directory is no longer needed.
const SETTLED: &str = "settled";

/// The migration from the pins of an older version to those of this one.
#[derive(Debug)]
pub struct Migration {
    older: Pins,
    pins: Pins,
}

impl Migration {
    /// Returns the migration to `pins` that is due; `None` if there is no older version, or none that can be converted.
    /// Then maps are filled from the store and the kernel, and facts that only the old maps knew are lost.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn due(pins: &Pins) -> Result<Option<Self>> {
        let Some(bpf) = pins.root().parent() else { return Ok(None) };
        let versions = Pins::versions(bpf).map_err(failed(bpf, "list"))?;
        let older = versions.into_iter().rev().filter(|version| KNOWN.contains(version));
        let mut older = older.map(|version| Pins::of_version(bpf, version)).filter(|older| older != pins);
        let is_whole = |older: &Pins| CONVERTED.iter().all(|name| older.map(name).exists());
        Ok(older.find(is_whole).map(|older| Self { older, pins: pins.clone() }))
    }

    /// Returns true if the old maps still are to be copied: an earlier process may have come further.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        !self.mark(SETTLED).exists()
    }

    /// Fills the new maps from the old ones, held, unless programs are swapped already.
    ///
    /// # Errors
    /// A map is not what that version's is, or the kernel's.
    pub fn copy(&self) -> Result<()> {
        if self.mark(SWAPPING).exists() { Ok(()) } else { copy::first(&self.older, &self.pins) }
    }

    /// Replaces the old programs by the new ones on every interface of this network namespace. `ROUTES`, held, and
    /// `CONFIG` must be written before.
    ///
    /// # Errors
    /// The kernel's.
    pub fn swap(&self) -> Result<()> {
        self.set(SWAPPING)?;
        swap::all(&self.older, &self.pins)
    }

    /// Copies what the old programs wrote since [`Migration::copy`], and ends the hold of the pods. The plan ends the
    /// hold of other nodes when it writes `ROUTES`.
    ///
    /// # Errors
    /// As [`Migration::copy`].
    pub fn settle(&self) -> Result<()> {
        copy::second(&self.older, &self.pins)?;
        self.set(SETTLED)
    }

    /// Removes the old pins, then the marks.
    ///
    /// # Errors
    /// The system's.
    pub fn discard(self) -> Result<()> {
        crate::discard_other_versions(&self.pins)?;
        for mark in [SWAPPING, SETTLED] {
            match fs::remove_dir(self.mark(mark)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&self.mark(mark), "remove")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks are directories, because a bpffs holds no files.
    fn mark(&self, name: &str) -> PathBuf {
        self.pins.root().join(name)
    }

    fn set(&self, name: &str) -> Result<()> {
        match fs::create_dir(self.mark(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed(&self.mark(name), "create")(error))
            }
            _ => Ok(()),
        }
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Pin { path: path.to_owned(), action, source }
}
