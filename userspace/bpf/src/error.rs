use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError, tc::TcError},
};

/// Returns an error of aya with its causes, which its own text omits.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        text if text.contains(&cause) => text.to_owned(),
        text => format!("{text}: {cause}"),
    })
}

/// The errors of the kernel's side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary holds no object.
    #[error("built without the eBPF object: run cargo xtask build")]
    NoObject,
    /// A pin is absent: the node is not initialised, or its bpffs went away.
    #[error("{0}: not pinned: the node is not initialised")]
    NotInstalled(PathBuf),
    /// A file or directory of the pins.
    #[error("{path}: {action}: {source}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// A pinned map has another layout or capacity than required.
    #[error("{path}: {property} is {found}, not {wanted}: uninstall first")]
    Mismatch {
        /// The pin.
        path: PathBuf,
        /// `type`, `key size`, `value size` or `capacity`.
        property: &'static str,
        /// As it is.
        found: u32,
        /// As it should be.
        wanted: u32,
    },
    /// A map refused an operation.
    #[error("map {map}: {action}: {source}", source = whole(source))]
    Map {
        /// Name of the map.
        map: &'static str,
        /// The action that was tried.
        action: &'static str,
        /// The error of aya or the kernel.
        source: MapError,
    },
    /// The object was refused, or holds no such program.
    #[error("eBPF object: {source}", source = whole(.0.as_ref()))]
    Object(#[source] Box<EbpfError>),
    /// The kernel refused the object's types.
    #[error("eBPF object: types: {source}")]
    Types {
        /// The kernel's error.
        source: io::Error,
    },
    /// The object has no map of this name.
    #[error("eBPF object: no map {0}")]
    NoMap(&'static str),
    /// The object has no program of this name.
    #[error("eBPF object: no program {0}")]
    NoProgram(&'static str),
    /// The kernel refused a program, or its pin is no program of ours.
    #[error("program {program}: {action}: {source}", source = whole(source.as_ref()))]
    Program {
        /// Name of the program.
        program: &'static str,
        /// The action that was tried.
        action: &'static str,
        /// The error of aya or the kernel; it includes the verifier's log if the verifier refused.
        source: Box<ProgramError>,
    },
    /// Pinning failed.
    #[error("{path}: pin: {source}", source = whole(source))]
    PinObject {
        /// The pin.
        path: PathBuf,
        /// The error of aya or the kernel.
        source: PinError,
    },
    /// A pinned link.
    #[error("{path}: {action}: {source}", source = whole(source))]
    Link {
        /// The pin.
        path: PathBuf,
        /// The action that was tried.
        action: &'static str,
        /// The error of aya or the kernel.
        source: LinkError,
    },
    /// An interface refused a qdisc or a filter.
    #[error("{interface}: {action}: {source}")]
    Interface {
        /// Name of the interface.
        interface: String,
        /// The action that was tried.
        action: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// An interface refused a qdisc or a filter, as aya reports it.
    #[error("{interface}: {action}: {source}", source = whole(source))]
    Tc {
        /// Name of the interface.
        interface: String,
        /// The action that was tried.
        action: &'static str,
        /// The error of aya or the kernel.
        source: TcError,
    },
    /// A program could not be attached to an interface or link.
    #[error("{interface}: {action}: {source}", source = whole(source.as_ref()))]
    Attach {
        /// Name of the interface, or the link's pin.
        interface: String,
        /// The action that was tried.
        action: &'static str,
        /// The error of aya or the kernel.
        source: Box<ProgramError>,
    },
    /// This kernel cannot attach by tcx, and the mode was forced.
    #[error("{0}: this kernel has no tcx links (6.6 and newer)")]
    NoTcx(String),
}

impl Error {
    /// An interface refused.
    pub(crate) fn interface(interface: &str, action: &'static str, source: io::Error) -> Self {
        Self::Interface { interface: interface.to_owned(), action, source }
    }

    /// A program could not be attached to an interface, or to the link pinned there.
    pub(crate) fn attach(interface: &str, action: &'static str, source: ProgramError) -> Self {
        Self::Attach { interface: interface.to_owned(), action, source: Box::new(source) }
    }

    /// Returns true if init would cure it: a pin is absent.
    #[must_use]
    pub fn is_not_installed(&self) -> bool {
        matches!(self, Self::NotInstalled(_))
    }

    /// Returns true if it failed because there is no such interface.
    #[must_use]
    pub fn is_no_device(&self) -> bool {
        match self {
            Self::Interface { source, .. } | Self::Tc { source: TcError::IoError(source), .. } => {
                source.raw_os_error() == Some(libc::ENODEV)
            }
            Self::Attach { source, .. } => match source.as_ref() {
                ProgramError::TcError(TcError::IoError(source)) => {
                    source.raw_os_error() == Some(libc::ENODEV)
                }
                ProgramError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENODEV),
                _ => false,
            },
            _ => false,
        }
    }
}
