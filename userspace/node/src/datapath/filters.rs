use super::{Pins, Result};

/// Which of a pod's two filters are attached, with the programs that are pinned now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PodFilters {
    /// `from_pod` at ingress.
    pub from_pod: bool,
    /// `to_pod` at egress.
    pub to_pod: bool,
}

impl PodFilters {
    /// Whether both are.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.from_pod && self.to_pod
    }
}

/// Attaches the pinned programs to the pod's host veth `interface`: clsact with one filter of ours in each direction.
/// Idempotent: filters that are there are replaced without a gap.
///
/// # Errors
/// [`super::Error::NotInstalled`], and the kernel's.
pub fn attach_pod(pins: &Pins, interface: &str) -> Result<()> {
    let _ = (pins, interface);
    todo!()
}

/// Which filters of ours are on `interface`.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn pod_filters(pins: &Pins, interface: &str) -> Result<PodFilters> {
    let _ = (pins, interface);
    todo!()
}
