//! Services from a directory of files, for clusters without Kubernetes: the same objects in the same YAML. Who writes
//! the files takes the part of Kubernetes' controllers.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use naru_core::services::{Service, ServiceName, Slice};
use serde::Deserialize;
use tokio::sync::watch::Receiver;

use super::{Kind, NodeObject, Register, ServiceObject, SliceObject};
use crate::object_files;

/// A document. Every one of Kubernetes' kinds may stand in a file, and most say nothing about Services.
#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Document {
    Service(ServiceObject),
    EndpointSlice(SliceObject),
    Node(NodeObject),
    List {
        items: Vec<Self>,
    },
    #[serde(other)]
    Other,
}

/// All that the files of a directory say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Objects {
    services: BTreeMap<ServiceName, Arc<Service>>,
    /// By namespace and name.
    slices: BTreeMap<(String, String), Arc<Slice>>,
    zones: BTreeMap<String, String>,
}

/// Follows the directory that `directory` names.
pub async fn follow(directory: Receiver<Option<Option<PathBuf>>>, register: Register) {
    object_files::follow(directory, register).await;
}

impl object_files::Listener for Register {
    type Objects = Objects;

    fn read(directory: &Path) -> Result<(u64, Objects), String> {
        read(directory)
    }

    fn count(objects: &Objects) -> usize {
        objects.services.len() + objects.slices.len()
    }

    fn told(&mut self, known: &Objects, objects: &Objects) {
        self.change(|register| objects.tell(known, register));
    }

    fn failed(&mut self, complaint: String) {
        self.change(|register| register.complain(Kind::Services, complaint));
    }

    fn nowhere(&mut self) {
        self.change(super::Known::set_nowhere);
    }
}

/// Reads the files of a directory. Returns a hash of their text, and their objects.
fn read(directory: &Path) -> Result<(u64, Objects), String> {
    let place = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let files = object_files::list(directory).map_err(|error| place(directory, &error))?;
    let mut hasher = DefaultHasher::new();
    let mut objects = Objects::default();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| place(&file, &error))?;
        (&file, &text).hash(&mut hasher);
        let documents = object_files::documents::<Document>(&text).map_err(|error| place(&file, &error))?;
        for document in documents {
            objects.add(document).map_err(|error| place(&file, &error))?;
        }
    }
    Ok((hasher.finish(), objects))
}

impl Objects {
    fn add(&mut self, document: Document) -> Result<(), String> {
        match document {
            Document::Service(object) => {
                let name = object.name();
                let service = object.service().map_err(|error| format!("Service {name}: {error}"))?;
                match self.services.insert(name.clone(), Arc::new(service)) {
                    Some(_) => Err(format!("Service {name}: it is there twice")),
                    None => Ok(()),
                }
            }
            Document::EndpointSlice(object) => {
                let (namespace, name) = object.name();
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                let called = format!("EndpointSlice {namespace}/{name}");
                let slice = object.slice().map_err(|error| format!("{called}: {error}"))?;
                match self.slices.insert((namespace, name), Arc::new(slice)) {
                    Some(_) => Err(format!("{called}: it is there twice")),
                    None => Ok(()),
                }
            }
            Document::Node(object) => {
                let (name, zone) = object.zone();
                self.zones.extend(zone.map(|zone| (name, zone)));
                Ok(())
            }
            Document::List { items } => items.into_iter().try_for_each(|item| self.add(item)),
            Document::Other => Ok(()),
        }
    }

    /// Tells the register what is different from `before`.
    fn tell(&self, before: &Self, register: &mut super::Known) {
        for name in before.services.keys().filter(|name| !self.services.contains_key(*name)) {
            register.set_service(name.clone(), None);
        }
        for (name, service) in &self.services {
            if before.services.get(name) != Some(service) {
                register.set_service(name.clone(), Some(Arc::clone(service)));
            }
        }
        for (key, slice) in before.slices.iter().filter(|(key, _)| !self.slices.contains_key(*key)) {
            register.set_slice(&key.0, &key.1, Some(slice), None);
        }
        for (key, slice) in &self.slices {
            let known = before.slices.get(key);
            if known != Some(slice) {
                register.set_slice(&key.0, &key.1, known.map(Arc::as_ref), Some(Arc::clone(slice)));
            }
        }
        register.set_zones(self.zones.clone());
        for kind in [Kind::Services, Kind::Slices] {
            register.set_listed(kind);
            register.hear(kind);
        }
    }
}
