//! Services from a directory of files, for clusters without Kubernetes: the same objects in the same YAML. Who writes
//! the files takes the part of Kubernetes' controllers.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use naru_core::services::{Service, ServiceName, Slice};
use serde::Deserialize;
use tokio::{
    sync::watch::Receiver,
    time::{sleep, timeout},
};

use super::{Kind, NodeObject, Register, ServiceObject, SliceObject};
use crate::{file::FileWatch, object_files};

/// Time for which changes are gathered before the files are read.
const SETTLE: Duration = Duration::from_millis(20);
/// Period with which they are read although nothing was announced.
const RESYNC: Duration = Duration::from_secs(30);
/// The same where the kernel announces nothing.
const POLL: Duration = Duration::from_secs(2);
/// Time for which files that lack more than half of what was there must not change before they are believed: somebody
/// writes them in several steps.
const DOUBT: Duration = Duration::from_secs(1);

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
struct Objects {
    services: BTreeMap<ServiceName, Arc<Service>>,
    /// By namespace and name.
    slices: BTreeMap<(String, String), Arc<Slice>>,
    zones: BTreeMap<String, String>,
}

/// Follows the directory that `directory` names, until that is gone; before it says anything, nothing is known.
pub async fn follow(mut directory: Receiver<Option<Option<PathBuf>>>, register: Register) {
    let mut known = Objects::default();
    let mut doubt = None;
    loop {
        let said = directory.borrow_and_update().clone();
        let Some(Some(path)) = said else {
            if said.is_some() {
                register.change(super::Known::set_nowhere);
                known = Objects::default();
            }
            if directory.changed().await.is_err() {
                return;
            }
            continue;
        };
        let place = path.clone();
        // Watched before they are read, so that no change falls in between.
        let looked = tokio::task::spawn_blocking(move || (FileWatch::over_directory(&place), read(&place)));
        let Ok((watch, found)) = looked.await else { return };
        let is_settled = match found {
            Ok((content, objects)) => {
                let is_believed = objects.len() * 2 >= known.len() || doubt == Some(content);
                doubt = (!is_believed).then_some(content);
                if is_believed {
                    register.change(|register| objects.tell(&known, register));
                    known = objects;
                }
                is_believed
            }
            Err(complaint) => {
                register.change(|register| register.complain(Kind::Services, complaint));
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
    fn len(&self) -> usize {
        self.services.len() + self.slices.len()
    }

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
