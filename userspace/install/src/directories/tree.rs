//! The host's files, seen from a process whose root directory may be another one.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::DirectoryError;

/// The file tree below a directory that is a host's root.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The place of a path of the host. Symbolic links in it are not followed beyond the host: an absolute one would
    /// lead into our own tree.
    fn locate(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.locate(path)).is_ok()
    }

    /// The path as the host names it.
    pub(super) fn named(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// The content of a TOML file; `None` if it is not there.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, DirectoryError> {
        let text = match fs::read_to_string(self.locate(path)) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(source) => return Err(DirectoryError::Read { path: path.to_owned(), source }),
        };
        let malformed = |error: toml::de::Error| DirectoryError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        toml::from_str(&text).map(Some).map_err(malformed)
    }

    /// The files that a pattern of names matches, in the order of their names.
    pub(super) fn matching(&self, pattern: &Path) -> Vec<PathBuf> {
        let pattern = self.locate(pattern);
        let found = glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten();
        found.map(|path| self.named(&path)).collect()
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
