use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use naru_core::cluster::ClusterSpec;
use tokio::{
    sync::watch::Sender,
    time::{sleep, timeout},
};

use super::{parse, read, watch::FileWatch};
use crate::{ClusterError, Following, Revision, Source, View};

/// Time for which changes are gathered before the file is read: an editor writes it in several steps.
const SETTLE: Duration = Duration::from_millis(100);
/// Period with which the file is read although nothing was announced: a mount over a directory is not announced.
const RESYNC: Duration = Duration::from_secs(30);
/// The same where the kernel announces nothing, because its limit of watches is reached or a directory is not readable.
const POLL: Duration = Duration::from_secs(2);

/// A cluster file on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSource {
    /// The file. It may be absent, or behind symbolic links, and any directory above it may be replaced or come later.
    pub path: PathBuf,
}

impl Source for FileSource {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn follow(self: Box<Self>, views: Sender<View>) -> Following {
        Box::pin(follow(self.path, views))
    }
}

async fn follow(path: PathBuf, views: Sender<View>) {
    let mut known = None;
    loop {
        let file = path.clone();
        // Watched before it is read, so that no change falls in between.
        let looked = tokio::task::spawn_blocking(move || (FileWatch::over(&file), look(&file, known)));
        let Ok((watch, found)) = looked.await else { return };
        known = found.content();
        views.send_if_modified(|view| found.put_into(view));
        let is_whole = watch.as_ref().is_ok_and(FileWatch::is_whole);
        let change = async {
            match watch {
                Ok(watch) => watch.changed().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = views.closed() => return,
            announced = timeout(if is_whole { RESYNC } else { POLL }, change) => {
                if announced.is_ok() {
                    sleep(SETTLE).await;
                }
            }
        }
    }
}

/// The result of a look at the file.
enum Found {
    /// The content that was there at the look before.
    Same(u64),
    /// A cluster, and the hash of its text.
    Cluster(u64, ClusterSpec),
    /// Something that is no cluster, or nothing that can be read; the hash of its text, if there is one.
    Nothing(Option<u64>, ClusterError),
}

/// Reads the file, and parses it unless its content is `known`.
fn look(file: &Path, known: Option<u64>) -> Found {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => return Found::Nothing(None, error),
    };
    let content = hash(&text);
    if known == Some(content) {
        return Found::Same(content);
    }
    match parse(file, &text) {
        Ok(cluster) => Found::Cluster(content, cluster),
        Err(error) => Found::Nothing(Some(content), error),
    }
}

impl Found {
    const fn content(&self) -> Option<u64> {
        match self {
            Self::Same(content) | Self::Cluster(content, _) => Some(*content),
            Self::Nothing(content, _) => *content,
        }
    }

    /// Makes `view` say so; whether it said something else.
    fn put_into(self, view: &mut View) -> bool {
        let next = match self {
            Self::Same(_) => return false,
            Self::Cluster(content, cluster) => View {
                cluster: Some(Arc::new(cluster)),
                revision: Some(Revision::Content(content)),
                complaint: None,
            },
            Self::Nothing(_, error) => View { complaint: Some(error), ..view.clone() },
        };
        let is_news = *view != next;
        *view = next;
        is_news
    }
}

/// Content identity of a text: it tells states of one process's life apart, and is written nowhere.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
