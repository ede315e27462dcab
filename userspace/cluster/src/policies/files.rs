//! Policies, pods and namespaces in files, for clusters without Kubernetes and for policies that are not yet in force.

use std::{
    collections::BTreeSet,
    fmt::Display,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use naru_core::policy::model::{Cluster, Event};
use serde::Deserialize;
use tokio::sync::watch::Receiver;

use super::{Kind, Known, NamespaceObject, PodObject, PolicyObject, Register};
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
    read_hashed(path).map(|(_, objects)| objects)
}

/// As [`read`], with a hash of the text.
fn read_hashed(path: &Path) -> Result<(u64, Objects), String> {
    let place = |path: &Path, error: &dyn Display| format!("{}: {error}", path.display());
    let is_directory = fs::metadata(path).map_err(|error| place(path, &error))?.is_dir();
    let files = if is_directory { object_files::list(path) } else { Ok(vec![path.to_owned()]) };
    let (mut objects, mut hasher) = (Objects::default(), DefaultHasher::new());
    for file in files.map_err(|error| place(path, &error))? {
        let text = fs::read_to_string(&file).map_err(|error| place(&file, &error))?;
        (&file, &text).hash(&mut hasher);
        objects.add_text(&text).map_err(|error| place(&file, &error))?;
    }
    Ok((hasher.finish(), objects))
}

/// Follows the directory that `directory` names.
pub(crate) async fn follow(directory: Receiver<Option<Option<PathBuf>>>, register: Register) {
    object_files::follow(directory, register).await;
}

impl object_files::Listener for Register {
    type Objects = Cluster;

    fn read(directory: &Path) -> Result<(u64, Cluster), String> {
        read_hashed(directory).map(|(content, objects)| (content, objects.cluster()))
    }

    fn count(objects: &Cluster) -> usize {
        objects.policies.len() + objects.namespaces.len() + objects.pods.len()
    }

    fn told(&mut self, known: &Cluster, objects: &Cluster) {
        self.change(|register| tell(known, objects, register));
    }

    fn failed(&mut self, complaint: String) {
        self.change(|register| register.complain(Kind::Policies, complaint));
    }

    fn nowhere(&mut self) {
        self.change(Known::set_nowhere);
    }
}

/// Tells the register what is different.
fn tell(known: &Cluster, now: &Cluster, register: &mut Known) {
    let gone = known.policies.keys().filter(|name| !now.policies.contains_key(*name));
    gone.for_each(|name| register.put(Event::Policy(name.clone(), None)));
    let gone = known.namespaces.keys().filter(|name| !now.namespaces.contains_key(*name));
    gone.for_each(|name| register.put(Event::Namespace(name.clone(), None)));
    let gone = known.pods.keys().filter(|uid| !now.pods.contains_key(*uid));
    gone.for_each(|uid| register.put(Event::Pod(uid.clone(), None)));
    let is_news = |event: &Event| match event {
        Event::Policy(name, policy) => known.policies.get(name) != policy.as_ref(),
        Event::Namespace(name, labels) => known.namespaces.get(name) != labels.as_ref(),
        Event::Pod(uid, pod) => known.pods.get(uid) != pod.as_ref(),
        // Nodes are those of the cluster.
        Event::Node(..) => false,
    };
    now.events().filter(is_news).for_each(|event| register.put(event));
    for kind in Kind::ALL {
        register.set_listed(kind);
        register.hear(kind);
    }
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
