use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::Path,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, SchedClassifier},
};
use naru_abi::{maps, programs};

use crate::{
    Error, Pins, Result, judging, layout,
    load::{Loaded, VERIFICATIONS},
    object, sys,
};

/// Capacities of the maps; they are fixed by the first install.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Pods of the node, each address counted.
    pub pods: u32,
    /// Prefixes of the cluster.
    pub routes: u32,
    /// Flows in which the stack rewrites an address.
    pub flows: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { pods: naru_abi::MAX_PODS, routes: naru_abi::MAX_ROUTES, flows: naru_abi::MAX_FLOWS }
    }
}

/// The changes that [`install`] made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Installed {
    /// Maps that did not exist.
    pub maps_created: Vec<&'static str>,
    /// Programs that are new or differ from those that were pinned: attach pods and the overlay again.
    pub programs_replaced: Vec<&'static str>,
}

/// Loads the embedded object and pins its maps and programs, keeping what is pinned already. Idempotent; a kill at
/// any point leaves a state from which the next call completes. The directory must be on a bpffs, and the caller sees
/// to it that no two calls run at once.
///
/// # Errors
/// [`Error::NoObject`], [`Error::Mismatch`] where a pinned map has another layout or size, and the kernel's.
pub fn install(pins: &Pins, sizes: Sizes) -> Result<Installed> {
    install_object(pins, sizes, object().ok_or(Error::NoObject)?)
}

/// [`install`] of any object with the same maps and programs.
///
/// # Errors
/// As [`install`].
pub fn install_object(pins: &Pins, sizes: Sizes, object: &[u8]) -> Result<Installed> {
    for directory in [pins.root().to_owned(), pins.programs(), pins.links()] {
        fs::create_dir_all(&directory).map_err(failed(&directory, "create directory"))?;
    }
    // A process that can open a directory can lock it, and every ADD takes the lock of this one.
    let closed = fs::set_permissions(pins.root(), fs::Permissions::from_mode(0o700));
    closed.map_err(failed(pins.root(), "close to others"))?;
    let maps_created = layout::check(pins, sizes, &maps::ALL)?;
    layout::check(pins, sizes, &maps::OF_POLICIES)?;
    raise_memlock();
    let object = if judging::has_policy_maps(pins) { judging::link(object)? } else { object.to_vec() };
    let mut source = Source::load(pins, sizes, &object)?;
    let pinned_maps = layout::pinned(pins)?;
    let mut programs_replaced = Vec::new();
    for name in programs::ALL {
        if replace(pins, &mut source, name, &pinned_maps)? {
            programs_replaced.push(name);
        }
    }
    Ok(Installed { maps_created, programs_replaced })
}

/// The figures that the kernel's verifier reports about a program of the embedded object, in its words. The maps are
/// those that are pinned.
///
/// # Errors
/// As [`install`].
pub fn verifier_figures(pins: &Pins, sizes: Sizes, program: &'static str) -> Result<String> {
    let object = object().ok_or(Error::NoObject)?;
    let object = if judging::has_policy_maps(pins) { judging::link(object)? } else { object.to_vec() };
    match Loaded::new(pins, sizes, &object)? {
        Some(loaded) => loaded.figures(program),
        None => Err(Error::NoProgram(program)),
    }
}

/// Removes the pins that another version of the ABI left beside these, and its tcx links with them: its programs would
/// see every packet before ours, with maps that nobody maintains.
///
/// # Errors
/// A pin cannot be removed.
pub fn discard_other_versions(pins: &Pins) -> Result<()> {
    let Some(parent) = pins.root().parent() else { return Ok(()) };
    for version in Pins::versions(parent).map_err(failed(parent, "list"))? {
        let other = Pins::of_version(parent, version);
        if other != *pins {
            fs::remove_dir_all(other.root()).map_err(failed(other.root(), "remove"))?;
        }
    }
    Ok(())
}

/// Returns true if every map and program is pinned.
#[must_use]
pub fn is_installed(pins: &Pins) -> bool {
    pins.first_missing().is_none()
}

/// Kernels before 5.11 charge maps to the process's locked memory. Newer ones ignore it, and where the limit cannot be
/// raised and matters, creating the maps says so.
pub(crate) fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// An object whose maps are there.
enum Source {
    /// Ours.
    Plain(Box<Loaded>),
    /// An object with more in it, such as a debug build's log.
    Other(Ebpf),
}

impl Source {
    /// Creates and pins the maps that are missing, and opens the others.
    fn load(pins: &Pins, sizes: Sizes, object: &[u8]) -> Result<Self> {
        if let Some(loaded) = Loaded::new(pins, sizes, object)? {
            return Ok(Self::Plain(Box::new(loaded)));
        }
        let mut loader = EbpfLoader::new();
        // Where there is no policy yet, the maps of policies go with the loader.
        let pinned = maps::OF_POLICIES.into_iter().filter(|name| pins.map(name).exists());
        for name in maps::ALL.into_iter().chain(pinned) {
            loader.map_pin_path(name, pins.map(name));
            loader.map_max_entries(name, layout::capacity(name, sizes));
        }
        loader.load(object).map(Self::Other).map_err(|source| Error::Object(Box::new(source)))
    }

    /// Loads a program and pins it.
    fn pin(&mut self, name: &'static str, pin: &Path) -> Result<()> {
        let ebpf = match self {
            Self::Plain(loaded) => return loaded.pin(name, pin),
            Self::Other(ebpf) => ebpf,
        };
        let program = ebpf.program_mut(name).ok_or(Error::NoProgram(name))?;
        let program: &mut SchedClassifier = program.try_into().map_err(refused(name, "open"))?;
        verify(program).map_err(refused(name, "load"))?;
        program.pin(pin).map_err(|source| Error::PinObject { path: pin.to_owned(), source })
    }
}

/// Loads a program, as often as [`VERIFICATIONS`] allow.
fn verify(program: &mut SchedClassifier) -> std::result::Result<(), ProgramError> {
    for pause in VERIFICATIONS {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) =>
            {
                std::thread::sleep(Duration::from_millis(pause));
            }
            result => return result,
        }
    }
    program.load()
}

/// Puts the object's program in place of the pinned one if they differ.
fn replace(pins: &Pins, source: &mut Source, name: &'static str, maps: &BTreeSet<u32>) -> Result<bool> {
    let (pin, new) = (pins.program(name), pins.program(&format!("{name}_new")));
    remove(&new)?;
    source.pin(name, &new)?;
    if pin.exists() && identity(&pin, maps)? == identity(&new, maps)? {
        remove(&new)?;
        return Ok(false);
    }
    fs::rename(&new, &pin).map_err(failed(&pin, "replace"))?;
    Ok(true)
}

/// The identity of a loaded program: its instructions as written, and the pinned maps that it uses. Maps that are not
/// pinned, the log and constants of a debug build, are made anew with every load.
type Identity = (u64, BTreeSet<u32>);

fn identity(pin: &Path, maps: &BTreeSet<u32>) -> Result<Identity> {
    let told = sys::open(pin).and_then(|program| sys::describe(program.as_fd()));
    let told = told.map_err(failed(pin, "read"))?;
    Ok((told.tag, told.maps.into_iter().filter(|id| maps.contains(id)).collect()))
}

/// Removes a pin; one that is not there is no error.
pub(crate) fn remove(pin: &Path) -> Result<()> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(pin, "remove")(error)),
        _ => Ok(()),
    }
}

pub(crate) fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Pin { path: path.to_owned(), action, source }
}

/// Wraps aya's error for `map_err`.
pub(crate) fn refused(program: &'static str, action: &'static str) -> impl FnOnce(ProgramError) -> Error {
    move |source| Error::Program { program, action, source: Box::new(source) }
}
