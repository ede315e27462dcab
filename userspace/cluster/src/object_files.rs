//! Kubernetes' objects in files: which files of a directory count, the documents in a text, and a directory that is
//! followed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    sync::watch::Receiver,
    time::{sleep, timeout},
};

use crate::file::FileWatch;

/// Endings of the names of files that count.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// Time for which changes are gathered before the files are read.
const SETTLE: Duration = Duration::from_millis(20);
/// Period with which they are read although nothing was announced.
const RESYNC: Duration = Duration::from_secs(30);
/// The same where the kernel announces nothing.
const POLL: Duration = Duration::from_secs(2);
/// Time for which files that lack more than half of what was there must not change before they are believed: somebody
/// writes them in several steps.
const DOUBT: Duration = Duration::from_secs(1);

/// Whoever is told what the files of a directory say.
pub trait Listener {
    /// All that they say.
    type Objects: Default + Send + 'static;

    /// Reads a directory. Returns a hash of the text, and the objects.
    ///
    /// # Errors
    /// The place, and what is wrong there, in words.
    fn read(directory: &Path) -> Result<(u64, Self::Objects), String>;

    /// The number of objects.
    fn count(objects: &Self::Objects) -> usize;

    /// The files say `objects`; what they said before was `known`.
    fn told(&mut self, known: &Self::Objects, objects: &Self::Objects);

    /// The files cannot be read, or say something invalid.
    fn failed(&mut self, complaint: String);

    /// There is no directory.
    fn nowhere(&mut self);
}

/// Follows the directory that `directory` names, until that is gone; before it says anything, nothing is known.
pub async fn follow<L: Listener>(mut directory: Receiver<Option<Option<PathBuf>>>, mut listener: L) {
    let mut known = L::Objects::default();
    let mut doubt = None;
    loop {
        let said = directory.borrow_and_update().clone();
        let Some(Some(path)) = said else {
            if said.is_some() {
                listener.nowhere();
                known = L::Objects::default();
            }
            if directory.changed().await.is_err() {
                return;
            }
            continue;
        };
        let place = path.clone();
        // Watched before they are read, so that no change falls in between.
        let looked =
            tokio::task::spawn_blocking(move || (FileWatch::over_directory(&place), L::read(&place)));
        let Ok((watch, found)) = looked.await else { return };
        let is_settled = match found {
            Ok((content, objects)) => {
                let is_believed = L::count(&objects) * 2 >= L::count(&known) || doubt == Some(content);
                doubt = (!is_believed).then_some(content);
                if is_believed {
                    listener.told(&known, &objects);
                    known = objects;
                }
                is_believed
            }
            Err(complaint) => {
                listener.failed(complaint);
                true
            }
        };
        let is_whole = watch.as_ref().is_ok_and(FileWatch::is_whole);
        let pause = if is_whole { RESYNC } else { POLL };
        let change = async {
            match watch {
                Ok(watch) => watch.changed().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = directory.changed() => if changed.is_err() { return },
            announced = timeout(if is_settled { pause } else { DOUBT }, change) => {
                if announced.is_ok() {
                    sleep(SETTLE).await;
                }
            }
        }
    }
}

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
