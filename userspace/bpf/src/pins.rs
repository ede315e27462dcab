use std::path::{Path, PathBuf};

use naru_abi::{maps, programs};

/// Where the kernel objects of one node are pinned: `<root>/{MAP, programs/PROGRAM, links/PROGRAM_IFINDEX}`.
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

    /// The first map or program that is not there.
    #[must_use]
    pub fn first_missing(&self) -> Option<PathBuf> {
        let maps = maps::ALL.iter().map(|name| self.map(name));
        let programs = programs::ALL.iter().map(|name| self.program(name));
        maps.chain(programs).find(|pin| !pin.exists())
    }
}
