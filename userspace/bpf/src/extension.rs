//! The judgement by policies: an extension of the programs with maps of its own, from a node's first policy on.
//!
//! It takes the place of one function in each of them. The kernel finds that by the number of its type in the types of
//! the program; that number is known for programs that come from the same object, which [`add_policies`] checks.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::programs::ProgramInfo;
use naru_abi::{
    maps,
    programs::{self, POLICY_JUDGE, POLICY_VERDICT},
};

use crate::{
    Error, Pins, Result, Sizes,
    install::{differs, failed, raise_memlock, refused, remove, staged},
    layout,
    load::{Extended, Loaded, pin_object},
    object, program, sys,
};

/// Makes the maps of policies, and puts the judgement in its place in the pinned programs; from then on pods can be
/// isolated. Returns false if it is there. A kill at any point leaves a state from which the next call completes. The
/// caller sees to it that no call of [`crate::install`] runs at once.
///
/// # Errors
/// [`Error::OtherBuild`] where the pinned programs are not those of the embedded object, and the kernel's.
pub fn add_policies(pins: &Pins, sizes: Sizes) -> Result<bool> {
    if has_policies(pins)? {
        return Ok(false);
    }
    let object = object().ok_or(Error::NoObject)?;
    layout::check(pins, sizes, &maps::OF_POLICIES)?;
    raise_memlock();
    let loaded = Loaded::of_policies(pins, sizes, object)?;
    for name in programs::ALL {
        let pin = pins.program(name);
        let told = sys::describe(open(&pin)?.as_fd()).map_err(failed(&pin, "read"))?;
        if told.functions != loaded.function_types(name)? {
            return Err(Error::OtherBuild(pin));
        }
    }
    let pin = pins.program(POLICY_JUDGE);
    if !pin.exists() {
        load(&loaded, &pins.program(programs::FROM_POD), &pin)?;
    }
    let extension = Extension { pin, is_new: false, function: loaded.function_type(POLICY_VERDICT)? };
    programs::ALL.iter().try_for_each(|name| extension.put(pins, &pins.program(name)))?;
    Ok(true)
}

/// Returns true if every pinned program judges by policies.
///
/// # Errors
/// [`Error::NotInstalled`], and the kernel's.
pub fn has_policies(pins: &Pins) -> Result<bool> {
    if !pins.program(POLICY_JUDGE).exists() || !maps::OF_POLICIES.iter().all(|name| pins.map(name).exists()) {
        return Ok(false);
    }
    for name in programs::ALL {
        if !link(pins, program::id(pins, name)?).exists() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the links of programs that are pinned no more; until the devices have the new ones, the old ones judge.
///
/// # Errors
/// A pin cannot be read or removed.
pub fn discard_policy_links(pins: &Pins) -> Result<()> {
    let entries = match fs::read_dir(pins.links()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(&pins.links(), "list"))?,
    };
    let ids = programs::ALL.iter().map(|name| program::id(pins, name)).collect::<Result<Vec<_>>>()?;
    let kept: Vec<PathBuf> = ids.into_iter().map(|id| link(pins, id)).collect();
    for pin in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = pin.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = name.strip_prefix(POLICY_JUDGE).is_some_and(|rest| rest.starts_with('_'));
        if is_ours && !kept.contains(&pin) {
            remove(&pin)?;
        }
    }
    Ok(())
}

/// The extension that new programs get.
pub(crate) struct Extension {
    pin: PathBuf,
    /// True if it differs from the one that the programs have: a function can be replaced once, so that all programs
    /// have to be new.
    pub is_new: bool,
    function: u32,
}

impl Extension {
    /// Puts it into the program pinned there, and pins the link; one that has it is left as it is.
    pub(crate) fn put(&self, pins: &Pins, program: &Path) -> Result<()> {
        let id = ProgramInfo::from_pin(program).map_err(refused(POLICY_JUDGE, "read"))?.id();
        let pin = link(pins, id);
        if pin.exists() {
            return Ok(());
        }
        let (extension, extended) = (open(&self.pin)?, open(program)?);
        let link = sys::extend(extension.as_fd(), extended.as_fd(), self.function);
        pin_object(link.map_err(failed(program, "extend"))?.as_fd(), &pin)
    }

    /// Has it be the one that is pinned.
    pub(crate) fn settle(self, pins: &Pins) -> Result<()> {
        let pin = pins.program(POLICY_JUDGE);
        match self.is_new {
            true => fs::rename(&self.pin, &pin).map_err(failed(&pin, "replace")),
            false => remove(&staged(pins, POLICY_JUDGE)),
        }
    }
}

/// The extension for the programs that are staged; `None` where the node has had no policy.
pub(crate) fn renew(pins: &Pins, sizes: Sizes, object: &[u8]) -> Result<Option<Extension>> {
    let pin = pins.program(POLICY_JUDGE);
    if !pin.exists() {
        return Ok(None);
    }
    layout::check(pins, sizes, &maps::OF_POLICIES)?;
    let loaded = Loaded::of_policies(pins, sizes, object)?;
    let new = staged(pins, POLICY_JUDGE);
    remove(&new)?;
    load(&loaded, &staged(pins, programs::FROM_POD), &new)?;
    let is_new = differs(&pin, &new, &layout::pinned(pins)?)?;
    let function = loaded.function_type(POLICY_VERDICT)?;
    Ok(Some(Extension { pin: if is_new { new } else { pin }, is_new, function }))
}

/// The figures that the verifier reports about it.
pub(crate) fn figures(pins: &Pins, sizes: Sizes, object: &[u8]) -> Result<String> {
    let loaded = Loaded::of_policies(pins, sizes, object)?;
    let extended = open(&pins.program(programs::FROM_POD))?;
    let function = loaded.function_type(POLICY_VERDICT)?;
    loaded.figures(POLICY_JUDGE, Some(Extended { program: extended.as_fd(), function }))
}

/// Loads it for the program pinned at `extended`, whose like it can be put into, too.
fn load(loaded: &Loaded, extended: &Path, pin: &Path) -> Result<()> {
    let program = open(extended)?;
    let function = loaded.function_type(POLICY_VERDICT)?;
    loaded.pin_extension(POLICY_JUDGE, Extended { program: program.as_fd(), function }, pin)
}

fn open(pin: &Path) -> Result<OwnedFd> {
    sys::open(pin).map_err(|source| match pin.exists() {
        true => failed(pin, "open")(source),
        false => Error::NotInstalled(pin.to_owned()),
    })
}

/// The pin of the link to the program of that number.
fn link(pins: &Pins, program: u32) -> PathBuf {
    pins.link(POLICY_JUDGE, program)
}
