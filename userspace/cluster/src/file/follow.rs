//! Follows a file of any content: watches it, reads it after every announcement, and again each period.

use std::{
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{read, watch::FileWatch};
use crate::ClusterError;

/// Time for which changes are gathered before the file is read: an editor writes it in several steps.
const SETTLE: Duration = Duration::from_millis(100);
/// Period with which the file is read although nothing was announced: a mount over a directory is not announced.
const RESYNC: Duration = Duration::from_secs(30);
/// The same where the kernel announces nothing, because its limit of watches is reached or a directory is not readable.
const POLL: Duration = Duration::from_secs(2);

/// A reader of the file's text; the path only names it in errors.
pub type Parse<T> = fn(&Path, &str) -> Result<T, ClusterError>;

/// The result of a look at a file.
pub enum Found<T> {
    /// The content of the look before.
    Same(u64),
    /// The file's contents, and the hash of its text.
    Read(u64, T),
    /// Invalid content, or a file that cannot be read; the hash of its text, if there is one.
    Nothing(Option<u64>, ClusterError),
}

impl<T> Found<T> {
    const fn content(&self) -> Option<u64> {
        match self {
            Self::Same(content) | Self::Read(content, _) => Some(*content),
            Self::Nothing(content, _) => *content,
        }
    }
}

/// Reports what is found at each look, until `closed` ends.
pub async fn follow<T: Send + 'static>(
    path: PathBuf,
    parse: Parse<T>,
    mut tell: impl FnMut(Found<T>),
    closed: impl Future<Output = ()>,
) {
    let mut closed = std::pin::pin!(closed);
    let mut known = None;
    loop {
        let file = path.clone();
        // The watch begins before the file is read, so that no change falls in between.
        let looked = tokio::task::spawn_blocking(move || (FileWatch::over(&file), look(&file, parse, known)));
        let Ok((watch, found)) = looked.await else { return };
        known = found.content();
        tell(found);
        let is_whole = watch.as_ref().is_ok_and(FileWatch::is_whole);
        let change = async {
            match watch {
                Ok(watch) => watch.changed().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut closed => return,
            announced = timeout(if is_whole { RESYNC } else { POLL }, change) => {
                if announced.is_ok() {
                    sleep(SETTLE).await;
                }
            }
        }
    }
}

/// Reads the file, and parses it unless its content is `known`.
fn look<T>(file: &Path, parse: Parse<T>, known: Option<u64>) -> Found<T> {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => return Found::Nothing(None, error),
    };
    let content = hash(&text);
    if known == Some(content) {
        return Found::Same(content);
    }
    match parse(file, &text) {
        Ok(said) => Found::Read(content, said),
        Err(error) => Found::Nothing(Some(content), error),
    }
}

/// A hash that identifies a text: it distinguishes contents within one process's life, and is stored nowhere.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
