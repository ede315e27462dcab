//! The binaries that are measured.

use std::path::{Path, PathBuf};

use anyhow::bail;
use naru_sandbox::plugin::beside;

/// naru's binaries.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `naru`.
    pub naru: PathBuf,
    /// `naru-cni`.
    pub plugin: PathBuf,
    /// `naru-ipam`.
    pub ipam: PathBuf,
    /// The directory of the reference plugins.
    pub reference: PathBuf,
}

impl Binaries {
    /// Finds naru's binaries beside the running one, and the reference plugins in `reference`.
    ///
    /// # Errors
    /// One is not there.
    pub fn installed(reference: &Path) -> anyhow::Result<Self> {
        for name in ["bridge", "ptp", "host-local"] {
            let path = reference.join(name);
            if !path.exists() {
                bail!("{}: not found; Debian has it in containernetworking-plugins", path.display());
            }
        }
        Ok(Self {
            naru: beside("naru")?,
            plugin: beside("naru-cni")?,
            ipam: beside("naru-ipam")?,
            reference: reference.to_owned(),
        })
    }
}
