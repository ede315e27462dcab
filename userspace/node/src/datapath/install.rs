use super::{Pins, Result};

/// Capacities of the maps; fixed from the first install on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Pods of the node, each address counted.
    pub pods: u32,
    /// Prefixes of the cluster.
    pub routes: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { pods: naru_abi::MAX_PODS, routes: naru_abi::MAX_ROUTES }
    }
}

/// What [`install`] changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Installed {
    /// Maps that did not exist.
    pub maps_created: Vec<&'static str>,
    /// Programs that were new or other than the embedded object's: attach pods and the overlay again.
    pub programs_replaced: Vec<&'static str>,
}

/// Loads the embedded object and pins its maps and programs, keeping what is pinned already. Idempotent; a kill at
/// any point leaves a state from which the next call completes. The directory must be on a bpffs.
///
/// # Errors
/// [`super::Error::NoObject`], [`super::Error::Mismatch`] where a pinned map has another layout or size, and the kernel's.
pub fn install(pins: &Pins, sizes: Sizes) -> Result<Installed> {
    let _ = (pins, sizes);
    todo!()
}

/// Whether every map and program is pinned.
#[must_use]
pub fn is_installed(pins: &Pins) -> bool {
    pins.first_missing().is_none()
}
