//! Kubernetes' objects in files: which files of a directory count, and the documents in a text.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

/// Endings of the names of files that count.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Returns the files of a directory that count, in the order of their names: `*.yaml`, `*.yml` and `*.json`, without
/// those whose names begin with a dot.
pub fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_named = path.extension().is_some_and(|ending| ENDINGS.iter().any(|one| ending == *one));
        if is_named && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the documents of a text, or the first line of the parser's complaint.
pub fn documents<D: DeserializeOwned>(text: &str) -> Result<Vec<D>, String> {
    serde_saphyr::from_multiple::<D>(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or("not YAML").to_owned())
}
