//! The directories in which a container runtime looks for network configurations and plugins.

mod containerd;
mod crio;
mod error;
mod tree;

use std::path::{Path, PathBuf};

pub use error::DirectoryError;
use tree::Tree;

/// The directories of one runtime, as paths on its host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directories {
    /// The directory of network configurations.
    pub conf: PathBuf,
    /// The directories of plugins, in the order in which the runtime searches them; never empty.
    pub bin: Vec<PathBuf>,
    /// The file that names them; `None` if these are the runtime's defaults.
    pub source: Option<PathBuf>,
}

/// A path at which a runtime's configuration may be, and the socket that this runtime serves.
struct Place {
    runtime: Runtime,
    /// The main file.
    file: &'static str,
    /// The socket that the kubelet calls.
    socket: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Containerd,
    Crio,
}

/// Paths at which runtimes keep their configuration; first those of Kubernetes distributions that bring a runtime of
/// their own.
const PLACES: &[Place] = &[
    Place {
        runtime: Runtime::Containerd,
        file: "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        socket: "/run/k3s/containerd/containerd.sock",
    },
    Place {
        runtime: Runtime::Containerd,
        file: "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        socket: "/run/k3s/containerd/containerd.sock",
    },
    Place {
        runtime: Runtime::Containerd,
        file: "/var/snap/microk8s/current/args/containerd.toml",
        socket: "/var/snap/microk8s/common/run/containerd.sock",
    },
    Place { runtime: Runtime::Crio, file: "/etc/crio/crio.conf", socket: "/run/crio/crio.sock" },
    Place {
        runtime: Runtime::Containerd,
        file: "/etc/cri/containerd.toml",
        socket: "/run/containerd/containerd.sock",
    },
    Place {
        runtime: Runtime::Containerd,
        file: "/etc/containerd/config.toml",
        socket: "/run/containerd/containerd.sock",
    },
];

/// Settings from a runtime's configuration; a setting that is absent has the runtime's default.
#[derive(Default)]
struct Said {
    conf: Option<PathBuf>,
    bin: Vec<PathBuf>,
}

/// The result of reading a runtime's configuration.
enum Reading {
    /// There is none.
    Absent,
    /// This runtime does not serve the kubelet.
    Off,
    Said(Said),
}

/// Reads the directories from the configuration of the runtime of the host whose root directory is `root`.
///
/// A runtime that serves its socket comes before one that is only configured. Where there is neither, the defaults of
/// containerd and CRI-O count, which are the same.
///
/// # Errors
/// A file cannot be read, or is not what its runtime would take.
pub fn find(root: &Path) -> Result<Directories, DirectoryError> {
    let tree = Tree::new(root);
    let (mut configured, mut is_serving) = (None, false);
    for place in PLACES {
        let serves = tree.exists(Path::new(place.socket));
        match place.read(&tree)? {
            Reading::Said(said) if serves => return Ok(place.directories(said)),
            Reading::Said(said) => configured = configured.or_else(|| Some(place.directories(said))),
            Reading::Absent => is_serving |= serves,
            Reading::Off => {}
        }
    }
    // A socket without a file is a runtime with its defaults.
    Ok(configured.filter(|_| !is_serving).unwrap_or_else(|| defaults(None)))
}

impl Place {
    fn read(&self, tree: &Tree) -> Result<Reading, DirectoryError> {
        match self.runtime {
            Runtime::Containerd => containerd::read(tree, Path::new(self.file)),
            Runtime::Crio => crio::read(tree, Path::new(self.file)),
        }
    }

    fn directories(&self, said: Said) -> Directories {
        let is_said = said.conf.is_some() || !said.bin.is_empty();
        let default = defaults(is_said.then(|| self.file.into()));
        Directories {
            conf: said.conf.unwrap_or(default.conf),
            bin: if said.bin.is_empty() { default.bin } else { said.bin },
            source: default.source,
        }
    }
}

fn defaults(source: Option<PathBuf>) -> Directories {
    Directories { conf: "/etc/cni/net.d".into(), bin: vec!["/opt/cni/bin".into()], source }
}
