//! Policies, pods and namespaces in files, for clusters without Kubernetes and for policies that are not yet in force.

use std::{collections::BTreeSet, fmt::Display, fs, path::Path, sync::Arc};

use naru_core::policy::model::{Cluster, Event};
use serde::Deserialize;

use super::{NamespaceObject, PodObject, PolicyObject};
use crate::object_files;

/// A document. Every one of Kubernetes' kinds may stand in a file, and most say nothing about policies.
#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Document {
    NetworkPolicy(PolicyObject),
    Namespace(NamespaceObject),
    Pod(PodObject),
    List {
        items: Vec<Self>,
    },
    #[serde(other)]
    Other,
}

/// Objects as a file or a directory says them.
#[derive(Default, Debug)]
pub struct Objects {
    /// A change for each: from nothing to what is said.
    pub events: Vec<Event>,
    seen: BTreeSet<String>,
    claims: u64,
}

/// Reads a file, or all files of a directory in the order of their names. A file counts if its name ends in `.yaml`,
/// `.yml` or `.json`, and does not begin with a dot.
///
/// # Errors
/// The place, and what is wrong there, in words. A single fault refuses everything: half of a set of policies says
/// something else than the whole.
pub fn read(path: &Path) -> Result<Objects, String> {
    let place = |path: &Path, error: &dyn Display| format!("{}: {error}", path.display());
    let is_directory = fs::metadata(path).map_err(|error| place(path, &error))?.is_dir();
    let files = if is_directory { object_files::list(path) } else { Ok(vec![path.to_owned()]) };
    let mut objects = Objects::default();
    for file in files.map_err(|error| place(path, &error))? {
        let text = fs::read_to_string(&file).map_err(|error| place(&file, &error))?;
        objects.add_text(&text).map_err(|error| place(&file, &error))?;
    }
    Ok(objects)
}

impl Objects {
    /// Adds the documents of a text.
    ///
    /// # Errors
    /// Invalid YAML, an invalid object or a duplicate, in words.
    pub fn add_text(&mut self, text: &str) -> Result<(), String> {
        object_files::documents::<Document>(text)?.into_iter().try_for_each(|document| self.add(document))
    }

    fn add(&mut self, document: Document) -> Result<(), String> {
        match document {
            Document::NetworkPolicy(object) => {
                let name = object.name();
                let policy = object.policy().map_err(|error| format!("NetworkPolicy {name}: {error}"))?;
                self.put(Event::Policy(name, Some(Arc::new(policy))))
            }
            Document::Namespace(object) => {
                let (name, labels) = object.labels();
                self.put(Event::Namespace(name, Some(labels)))
            }
            Document::Pod(object) => {
                let name = object.full_name();
                self.claims += 1;
                let pod = object.pod(self.claims).map_err(|error| format!("Pod {name}: {error}"))?;
                self.put(Event::Pod(pod.uid.clone(), Some(Arc::new(pod))))
            }
            Document::List { items } => items.into_iter().try_for_each(|item| self.add(item)),
            Document::Other => Ok(()),
        }
    }

    /// Adds an object that is not there yet.
    fn put(&mut self, added: Event) -> Result<(), String> {
        let what = match &added {
            Event::Policy(name, _) => format!("NetworkPolicy {name}"),
            Event::Namespace(name, _) => format!("Namespace {name}"),
            Event::Pod(name, _) => format!("Pod {name}"),
            Event::Node(name, _) => format!("Node {name}"),
        };
        if !self.seen.insert(what.clone()) {
            return Err(format!("{what}: it is there twice"));
        }
        self.events.push(added);
        Ok(())
    }

    /// The cluster that they make.
    #[must_use]
    pub fn cluster(self) -> Cluster {
        let mut cluster = Cluster::default();
        for event in self.events {
            cluster.apply(event);
        }
        cluster
    }
}
