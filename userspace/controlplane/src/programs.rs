use std::path::{Path, PathBuf};

use anyhow::bail;

/// The version of Kubernetes that the programs are of.
pub const VERSION: &str = "1.37.2";

/// The directory with the programs of Kubernetes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// The programs below `NARU_TOOLS`, else in the directory of tools in the user's cache.
    ///
    /// # Errors
    /// A program is not there.
    pub fn find() -> anyhow::Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        let root =
            set("NARU_TOOLS").or_else(|| cache().map(|cache| cache.join("naru-tools"))).unwrap_or_default();
        let programs = Self { directory: root.join(format!("kubernetes-{VERSION}/bin")) };
        for name in ["etcd", "kube-apiserver", "kubectl"] {
            let program = programs.path(name);
            if !program.is_file() {
                bail!("{}: not there: run cargo xtask setup --kubernetes", program.display());
            }
        }
        Ok(programs)
    }

    /// The program of that name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory of all of them.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
