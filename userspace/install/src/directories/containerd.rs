//! containerd: versions 1 to 3 of its configuration (`docs/cri/config.md` in its sources).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{DirectoryError, Reading, Said, tree::Tree};

/// The keys of the plugin that serves the kubelet, in versions 3, 2 and 1 of the configuration.
const CRI: [&str; 3] = ["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "cri"];
/// Files that import each other are read to this depth.
const DEPTH: u8 = 8;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    imports: Vec<PathBuf>,
    #[serde(default)]
    disabled_plugins: Vec<String>,
    #[serde(default)]
    plugins: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize, Default)]
struct Cri {
    #[serde(default)]
    cni: Cni,
}

#[derive(Deserialize, Default)]
struct Cni {
    #[serde(default)]
    bin_dir: PathBuf,
    #[serde(default)]
    bin_dirs: Vec<PathBuf>,
    #[serde(default)]
    conf_dir: PathBuf,
}

/// Reads the file and its imports; a later file completes or overrides those before it.
pub(super) fn read(tree: &Tree, file: &Path) -> Result<Reading, DirectoryError> {
    let mut said = Said::default();
    Ok(match merge(tree, file, &mut said, DEPTH)? {
        Some(true) => Reading::Said(said),
        Some(false) => Reading::Off,
        None => Reading::Absent,
    })
}

/// Adds the settings of the file. Returns true if the plugin for the kubelet is on, `None` if there is no such file.
fn merge(tree: &Tree, file: &Path, said: &mut Said, depth: u8) -> Result<Option<bool>, DirectoryError> {
    let Some(config) = tree.read::<Config>(file)? else { return Ok(None) };
    let is_off = |name: &String| CRI.contains(&name.as_str());
    let mut serves = !config.disabled_plugins.iter().any(is_off);
    for name in CRI {
        let Some(section) = config.plugins.get(name) else { continue };
        let cri: Cri =
            section.clone().try_into().map_err(|error: toml::de::Error| DirectoryError::Malformed {
                path: file.to_owned(),
                reason: format!("plugins.\"{name}\": {error}"),
            })?;
        take(file, cri.cni, said)?;
        break;
    }
    for pattern in config.imports {
        let beside = file.parent().unwrap_or_else(|| Path::new("/")).join(&pattern);
        for imported in tree.matching(&beside).into_iter().filter(|_| depth > 0) {
            serves &= merge(tree, &imported, said, depth - 1)?.unwrap_or(true);
        }
    }
    Ok(Some(serves))
}

fn take(file: &Path, cni: Cni, said: &mut Said) -> Result<(), DirectoryError> {
    let absolute = |key: &'static str, given: &PathBuf| match given.is_absolute() {
        true => Ok(()),
        false => Err(DirectoryError::Relative { path: file.to_owned(), key, given: given.clone() }),
    };
    // `bin_dirs` is the newer key; in a file that has both, `bin_dir` names the same directory.
    let single = Some(cni.bin_dir).filter(|path| !path.as_os_str().is_empty());
    let bin = if cni.bin_dirs.is_empty() { single.into_iter().collect() } else { cni.bin_dirs };
    bin.iter().try_for_each(|path| absolute("bin_dir", path))?;
    if !bin.is_empty() {
        said.bin = bin;
    }
    if !cni.conf_dir.as_os_str().is_empty() {
        absolute("conf_dir", &cni.conf_dir)?;
        said.conf = Some(cni.conf_dir);
    }
    Ok(())
}
