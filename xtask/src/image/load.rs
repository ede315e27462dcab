//! Import of the image into a container runtime of this machine.

use std::{path::Path, process::Command};

use clap::ValueEnum;

use crate::run::step;

/// A runtime with a tool of its own for imports.
#[derive(Clone, Copy, ValueEnum)]
pub enum Runtime {
    /// containerd, into the namespace of the kubelet's images
    Containerd,
    /// podman, and with it CRI-O, which has the same store
    Podman,
}

impl Runtime {
    /// Imports the archive; `address` is the socket where the runtime serves, if not at its default.
    ///
    /// # Errors
    /// The runtime's tool cannot be run, or refuses.
    pub fn load(self, archive: &Path, address: Option<&Path>) -> anyhow::Result<()> {
        let mut command = match self {
            Self::Containerd => {
                let mut command = Command::new("ctr");
                if let Some(address) = address {
                    command.arg("--address").arg(address);
                }
                command.args(["--namespace", "k8s.io", "images", "import"]);
                command
            }
            Self::Podman => {
                let mut command = Command::new("podman");
                if let Some(address) = address {
                    command.arg("--url").arg(format!("unix://{}", address.display()));
                }
                command.args(["load", "--input"]);
                command
            }
        };
        step("import the image", command.arg(archive))
    }
}
