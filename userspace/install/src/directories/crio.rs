//! CRI-O: `crio.conf` and the files of `crio.conf.d` (crio.conf.d(5)).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DirectoryError, Reading, Said, tree::Tree};

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    crio: Crio,
}

#[derive(Deserialize, Default)]
struct Crio {
    #[serde(default)]
    network: Network,
}

#[derive(Deserialize, Default)]
struct Network {
    #[serde(default)]
    network_dir: PathBuf,
    #[serde(default)]
    plugin_dirs: Vec<PathBuf>,
    /// The name of `plugin_dirs` in the first versions.
    #[serde(default)]
    plugin_dir: PathBuf,
}

/// Reads the file and the directory beside it, of which later files win.
pub(super) fn read(tree: &Tree, file: &Path) -> Result<Reading, DirectoryError> {
    let mut said = Said::default();
    let mut is_there = merge(tree, file, &mut said)?;
    for dropped in tree.matching(&file.with_extension("conf.d").join("*")) {
        is_there |= merge(tree, &dropped, &mut said)?;
    }
    Ok(if is_there { Reading::Said(said) } else { Reading::Absent })
}

fn merge(tree: &Tree, file: &Path, said: &mut Said) -> Result<bool, DirectoryError> {
    let Some(config) = tree.read::<Config>(file)? else { return Ok(false) };
    let network = config.crio.network;
    let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
    let bin: Vec<PathBuf> =
        network.plugin_dirs.into_iter().chain([network.plugin_dir]).filter(is_set).collect();
    let conf = Some(network.network_dir).filter(is_set);
    for (key, given) in
        bin.iter().map(|path| ("plugin_dirs", path)).chain(conf.iter().map(|path| ("network_dir", path)))
    {
        if !given.is_absolute() {
            return Err(DirectoryError::Relative { path: file.to_owned(), key, given: given.clone() });
        }
    }
    if !bin.is_empty() {
        said.bin = bin;
    }
    said.conf = conf.or(said.conf.take());
    Ok(true)
}
