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
    serde_saphyr::from_multiple_with_options::<D>(text, limits(text.len())).map_err(|error| {
        let complaint = error.to_string();
        let line = complaint.lines().next().unwrap_or("not YAML");
        // The parser says its limits as numbers of its own.
        match line.split_once("budget breached") {
            Some((place, _)) => format!("{place}its anchors, or its depth, are beyond what objects need"),
            None => line.to_owned(),
        }
    })
}

/// The parser's limits for a text of so many bytes: as many documents and values as can be written in it, so that only
/// what aliases make of it is limited.
fn limits(bytes: usize) -> serde_saphyr::Options {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_documents = bytes.max(budget.max_documents);
    budget.max_nodes = bytes.max(budget.max_nodes);
    budget.max_total_scalar_bytes = bytes.max(budget.max_total_scalar_bytes);
    // A value has up to two events, and so has a document.
    budget.max_events = bytes.saturating_mul(4).max(budget.max_events);
    serde_saphyr::options! { budget: Some(budget) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A value that may be nested as deep as the text asks for.
    #[derive(serde::Deserialize, Debug)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only read from the text")]
    enum Whatever {
        Text(String),
        List(Vec<Self>),
        Map(BTreeMap<String, Self>),
    }

    #[test]
    fn a_file_has_as_many_documents_and_values_as_are_written_in_it() {
        let text = "a: [1, 2, 3, 4]\n---\n".repeat(60_000);
        let all = documents::<BTreeMap<String, Vec<u32>>>(&text).unwrap();
        assert_eq!(all.len(), 60_000);
    }

    #[test]
    fn what_aliases_multiply_is_refused_in_words() {
        let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let each = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("b{level}: &a{level} [{each}]\n");
        }
        let error = documents::<Whatever>(&text).unwrap_err();
        assert!(error.contains("anchors"), "{error}");
    }
}
