//! Pinned tcx links: they outlive the process that made them, and the program behind one is exchanged in place.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::{FdLink, LinkError, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
};
use naru_netlink::tc;

use crate::{Error, Pins, Result, install::remove, program, strays, sys};

/// Time for which a released link may stay attached, and the pause between two checks.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
const RELEASE_STEP: Duration = Duration::from_millis(2);

/// Returns true if this kernel knows tcx. `interface` is any interface of this thread's namespace.
#[must_use]
pub fn is_supported(interface: &str) -> bool {
    chain(interface, TcAttachType::Ingress).is_ok()
}

/// Attaches the pinned program `name` last in the chain of that direction, or in place of the one that is there.
pub(crate) fn put(pins: &Pins, name: &'static str, interface: &str, direction: TcAttachType) -> Result<()> {
    if is_put(pins, name, interface, direction)? {
        return Ok(());
    }
    let mut program = program::open(pins, name)?;
    let pin = pins.link(name, index(interface)?);
    if pin.exists() && exchange(&mut program, &pin)? && is_put(pins, name, interface, direction)? {
        return Ok(());
    }
    take_off(pins, name, interface, direction)?;
    // The same program without its link, or with a link pinned elsewhere, would be in the way.
    let same = program::id(pins, name)?;
    strays::clear_tcx(interface, direction, |id| id != same)?;
    create(&mut program, &pin, interface, direction)
}

/// Detaches the pinned link of `name` from `interface`, and waits until it is gone from the chain: the kernel releases
/// a link some time after its last reference.
pub(crate) fn take_off(pins: &Pins, name: &str, interface: &str, direction: TcAttachType) -> Result<()> {
    let Ok(index) = tc::ifindex(interface) else { return Ok(()) };
    let pin = pins.link(name, index);
    if !pin.exists() {
        return Ok(());
    }
    let program = open(&pin)?.info().map_err(|source| link_error(&pin, "read", source))?.program_id();
    remove(&pin)?;
    let deadline = Instant::now() + RELEASE_LIMIT;
    while is_in_chain(program, interface, direction) && Instant::now() < deadline {
        thread::sleep(RELEASE_STEP);
    }
    Ok(())
}

/// Discards the pinned links of the programs on devices other than `interfaces`.
pub(crate) fn discard(pins: &Pins, programs: [&str; 2], interfaces: &[u32]) -> Result<()> {
    let failed = |source| Error::Pin { path: pins.links(), action: "list", source };
    let entries = match fs::read_dir(pins.links()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let kept: Vec<PathBuf> =
        programs.iter().flat_map(|name| interfaces.iter().map(|index| pins.link(name, *index))).collect();
    for pin in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = pin.file_name().unwrap_or_default().to_string_lossy();
        let is_of_these = name.rsplit_once('_').is_some_and(|(program, _)| programs.contains(&program));
        if is_of_these && !kept.contains(&pin) {
            remove(&pin)?;
        }
    }
    Ok(())
}

/// Returns true if a program is in the chain; it is not where there is no such interface.
fn is_in_chain(program: u32, interface: &str, direction: TcAttachType) -> bool {
    chain(interface, direction).is_ok_and(|chain| chain.iter().any(|one| one.program == program))
}

/// Returns the chain by numbers: only `CAP_SYS_ADMIN` may read names.
pub(crate) fn chain(interface: &str, direction: TcAttachType) -> io::Result<Vec<sys::Member>> {
    sys::chain(tc::ifindex(interface)?, direction)
}

/// Returns true if the pinned link runs the program that is pinned as `name`, in the chain of `interface`.
pub(crate) fn is_put(
    pins: &Pins,
    name: &'static str,
    interface: &str,
    direction: TcAttachType,
) -> Result<bool> {
    let pin = pins.link(name, index(interface)?);
    if !pin.exists() || !is_supported(interface) {
        return Ok(false);
    }
    let wanted = program::id(pins, name)?;
    let link = open(&pin)?;
    let behind = link.info().map_err(|source| link_error(&pin, "read", source))?.program_id();
    Ok(behind == wanted && is_in_chain(wanted, interface, direction))
}

/// Puts `program` behind the pinned link. Returns false if its device is gone.
pub(crate) fn exchange(program: &mut SchedClassifier, pin: &Path) -> Result<bool> {
    let link = SchedClassifierLink::try_from(open(pin)?).map_err(|source| link_error(pin, "open", source))?;
    match program.attach_to_link(link) {
        Ok(link) => program.take_link(link).map(|_| true),
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOLINK) => {
            Ok(false)
        }
        Err(source) => Err(source),
    }
    .map_err(|source| Error::attach(&pin.display().to_string(), "update link", source))
}

fn create(program: &mut SchedClassifier, pin: &Path, interface: &str, direction: TcAttachType) -> Result<()> {
    // Whoever removes all links may remove their directory too.
    if let Some(directory) = pin.parent() {
        let failed = |source| Error::Pin { path: directory.to_owned(), action: "create directory", source };
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::last());
    let link = program
        .attach_with_options(interface, direction, options)
        .and_then(|id| program.take_link(id))
        .map_err(|source| Error::attach(interface, "attach by tcx", source))?;
    let link = FdLink::try_from(link).map_err(|source| link_error(pin, "take", source))?;
    link.pin(pin).map(drop).map_err(|source| Error::PinObject { path: pin.to_owned(), source })
}

fn index(interface: &str) -> Result<u32> {
    tc::ifindex(interface).map_err(|source| Error::interface(interface, "find", source))
}

fn open(pin: &Path) -> Result<FdLink> {
    PinnedLink::from_pin(pin).map(FdLink::from).map_err(|source| link_error(pin, "open pin", source))
}

fn link_error(pin: &Path, action: &'static str, source: LinkError) -> Error {
    Error::Link { path: pin.to_owned(), action, source }
}
