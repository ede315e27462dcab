use std::{path::PathBuf, sync::Arc};

use tokio::sync::watch::{Sender, channel};

use super::{ClusterFile, Found, follow, parse_file};
use crate::{Contact, Following, Revision, Source, View, policies, services};

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
            let (to_directory, directory) = channel(None);
            let (to_policies, policy_files) = channel(None);
            let (services, policies) = (contact.services().clone(), contact.policies().clone());
            let tell = |found: Found<ClusterFile>| {
                if !matches!(found, Found::Nothing(None, _)) {
                    contact.hear();
                }
                if let Found::Read(_, said) = &found {
                    services.change(|known| known.set_mode(said.services));
                    policies.change(|known| known.set_settings(said.policies));
                    to_directory.send_replace(Some(said.service_files.clone()));
                    to_policies.send_replace(Some(said.policy_files.clone()));
                }
                views.send_if_modified(|view| put(found, view));
            };
            tokio::select! {
                () = follow(self.path, parse_file, tell, views.closed()) => {}
                () = services::follow(directory, services.clone()) => {}
                () = policies::follow(policy_files, policies.clone()) => {}
            }
        })
    }
}

/// Makes `view` say what was found; returns true if it said something else before.
fn put(found: Found<ClusterFile>, view: &mut View) -> bool {
    let next = match found {
        Found::Same(_) => return false,
        Found::Read(content, said) => View {
            cluster: Some(Arc::new(said.cluster)),
            revision: Some(Revision::Content(content)),
            ..View::default()
        },
        Found::Nothing(_, error) => View { complaint: Some(error), ..view.clone() },
    };
    let is_news = *view != next;
    *view = next;
    is_news
}
