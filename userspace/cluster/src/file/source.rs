use std::{path::PathBuf, sync::Arc};

use naru_core::cluster::ClusterSpec;
use tokio::sync::watch::Sender;

use super::{Found, follow, parse};
use crate::{Contact, Following, Revision, Source, View};

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

    fn follow(self: Box<Self>, views: Sender<View>, contact: Contact) -> Following {
        Box::pin(async move {
            let tell = |found: Found<ClusterSpec>| {
                if !matches!(found, Found::Nothing(None, _)) {
                    contact.hear();
                }
                views.send_if_modified(|view| put(found, view));
            };
            follow(self.path, parse, tell, views.closed()).await;
        })
    }
}

/// Updates `view` with what was found. Returns true if that changes it.
fn put(found: Found<ClusterSpec>, view: &mut View) -> bool {
    let next = match found {
        Found::Same(_) => return false,
        Found::Read(content, cluster) => View {
            cluster: Some(Arc::new(cluster)),
            revision: Some(Revision::Content(content)),
            ..View::default()
        },
        Found::Nothing(_, error) => View { complaint: Some(error), ..view.clone() },
    };
    let is_news = *view != next;
    *view = next;
    is_news
}
