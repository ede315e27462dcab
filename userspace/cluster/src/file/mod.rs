//! `cluster.toml`, a file on this machine: read as it was written (`raw`), then turned into a [`ClusterSpec`] in one
//! conversion with every default and every cross-check.

mod convert;
mod follow;
mod networks;
mod nodes;
mod position;
mod raw;
mod settings;
mod source;
mod watch;

use std::{fs, path::Path};

use naru_core::cluster::ClusterSpec;

pub use convert::{ClusterFile, parse, parse_file};
pub use follow::{Found, Parse, follow};
pub use settings::{ClusterSettings, parse_settings};
pub use source::FileSource;
pub(crate) use watch::FileWatch;

use crate::ClusterError;

/// The cluster that the file describes.
///
/// # Errors
/// [`ClusterError`]: the file cannot be read, or line and key of the first thing that is wrong.
pub fn load(file: &Path) -> Result<ClusterSpec, ClusterError> {
    parse(file, &read(file)?)
}

fn read(file: &Path) -> Result<String, ClusterError> {
    fs::read_to_string(file).map_err(|error| ClusterError::Unreachable {
        place: file.display().to_string(),
        reason: error.to_string(),
    })
}
