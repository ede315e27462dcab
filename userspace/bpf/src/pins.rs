use std::{
    fs, io,
    path::{Path, PathBuf},
};

use naru_abi::{maps, programs};

/// Paths of the pinned kernel objects of one node: `<root>/{MAP, programs/PROGRAM, links/PROGRAM_IFINDEX}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Pins directly below `root`, a directory on a bpffs.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The pins of a version of the ABI, below a directory on a bpffs: `<bpf>/abi<N>`.
    #[must_use]
    pub fn of_version(bpf: &Path, version: u32) -> Self {
        Self::at(bpf.join(format!("abi{version}")))
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The pin of a map, one of [`maps`].
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory of pinned programs.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// The pin of a program, one of [`programs`].
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// The directory of pinned links.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// The pin of the tcx link of a program on the device of that index.
    #[must_use]
    pub fn link(&self, program: &str, interface: u32) -> PathBuf {
        self.links().join(format!("{program}_{interface}"))
    }

    /// Versions of the ABI that have pins below `bpf`, in order: directories named `abi<N>`, exactly so, that hold
    /// something which every version of ours has. Others may keep what they like beside them.
    ///
    /// # Errors
    /// The directory is there and cannot be listed.
    pub fn versions(bpf: &Path) -> io::Result<Vec<u32>> {
        let entries = match fs::read_dir(bpf) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            let entry = entry?;
            let version = entry.file_name().to_str().and_then(version);
            versions.extend(version.filter(|_| Self::at(entry.path()).is_marked()));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// Returns true if the directory is one of ours, of whichever version.
    fn is_marked(&self) -> bool {
        self.programs().exists() || maps::ALL.iter().any(|name| self.map(name).exists())
    }

    /// The first map or program that is not there.
    #[must_use]
    pub fn first_missing(&self) -> Option<PathBuf> {
        let maps = maps::ALL.iter().map(|name| self.map(name));
        let programs = programs::ALL.iter().map(|name| self.program(name));
        maps.chain(programs).find(|pin| !pin.exists())
    }
}

/// The version that a directory of this name is for.
fn version(name: &str) -> Option<u32> {
    let number = name.strip_prefix("abi")?.parse().ok()?;
    (format!("abi{number}") == name).then_some(number)
}
