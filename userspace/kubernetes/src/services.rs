//! Services and EndpointSlices, handed to the node's register object by object: there are tens of thousands of them,
//! and each is kept once, as small as it can be.

use std::{sync::Arc, time::Duration};

use naru_cluster::{
    Contact,
    services::{self, Register, ServiceObject, SliceObject},
};
use naru_core::services::{Service, ServiceName, Slice};

use crate::{
    api::{Api, ApiError},
    follow::{Follower, Kind, Known, Listener, News, Pace, Remembered},
    progress::{Progress, Topic},
};

/// All Services.
const SERVICES: &str = "/api/v1/services";
/// All slices of Services that have an address.
const SLICES: &str =
    "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=!service.kubernetes.io%2Fheadless";

/// Period with which the states that were read last are written down.
pub const NOTE: Duration = Duration::from_secs(30);

impl Kind for Arc<Service> {
    fn read(object: &[u8]) -> Result<Self, String> {
        let object: ServiceObject = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        object.service().map(Self::new)
    }
}

impl Kind for Arc<Slice> {
    fn read(object: &[u8]) -> Result<Self, String> {
        let object: SliceObject = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        object.slice().map(Self::new)
    }
}

/// Hands a kind to the register.
struct Scribe {
    register: Register,
    progress: Progress,
}

impl Listener<Arc<Service>> for Scribe {
    fn told(&mut self, known: &Known<Arc<Service>>, news: News<Arc<Service>>) {
        self.progress.note(Topic::Services, known.position());
        self.register.change(|register| {
            for name in news.into_keys() {
                let service = known.entries().get(&name).and_then(|entry| entry.value.clone());
                let (namespace, name) = parts(&name);
                let name = ServiceName { namespace: namespace.to_owned(), name: name.to_owned() };
                register.set_service(name, service);
            }
            register.set_listed(services::Kind::Services);
            register.hear(services::Kind::Services);
        });
    }

    fn failed(&mut self, error: ApiError) {
        self.register.change(|register| register.complain(services::Kind::Services, error.to_string()));
    }
}

impl Listener<Arc<Slice>> for Scribe {
    fn told(&mut self, known: &Known<Arc<Slice>>, news: News<Arc<Slice>>) {
        self.progress.note(Topic::Slices, known.position());
        self.register.change(|register| {
            for (name, before) in news {
                let slice = known.entries().get(&name).and_then(|entry| entry.value.clone());
                let (namespace, name) = parts(&name);
                register.set_slice(namespace, name, before.as_deref(), slice);
            }
            register.set_listed(services::Kind::Slices);
            register.hear(services::Kind::Slices);
        });
    }

    fn failed(&mut self, error: ApiError) {
        self.register.change(|register| register.complain(services::Kind::Slices, error.to_string()));
    }
}

/// Namespace and name of an object's key.
fn parts(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// Follows both kinds for ever.
pub async fn follow(api: Arc<Api>, pace: Pace, contact: Contact, progress: Progress) {
    let scribe = || Scribe { register: contact.services().clone(), progress: progress.clone() };
    // Only that a list is older than what was read is known of the time before; what it lacks is not.
    let known = |topic| {
        let revision = progress.position(topic);
        (revision > 0).then(|| Remembered { revision, ..Remembered::default() })
    };
    let on_services = Follower::new(
        api.clone(),
        SERVICES,
        Known::<Arc<Service>>::new(known(Topic::Services), pace),
        contact.clone(),
        scribe(),
    );
    let on_slices = Follower::new(
        api,
        SLICES,
        Known::<Arc<Slice>>::new(known(Topic::Slices), pace),
        contact.clone(),
        scribe(),
    );
    tokio::join!(on_services.run(), on_slices.run());
}

#[cfg(test)]
mod tests;
