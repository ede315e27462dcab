//! Services and EndpointSlices as far as a node looks at them. Small on purpose: a cluster has tens of thousands.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Protocol, ServiceName};

/// A Service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Service {
    /// The form in which it has addresses.
    pub form: Form,
    /// Its cluster addresses, at most one a family.
    pub addresses: Box<[IpAddr]>,
    /// Its ports.
    pub ports: Box<[Port]>,
    /// Seconds for which a client stays with its backend; `None` without session affinity.
    pub affinity: Option<u32>,
    /// True if `internalTrafficPolicy` is `Local`: only backends of the client's node serve it.
    pub is_local: bool,
    /// The proxy that serves it in place of the cluster's, by the label `service.kubernetes.io/service-proxy-name`.
    pub proxy: Option<Box<str>>,
}

/// The forms in which a Service has addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// Addresses of its own.
    #[default]
    Cluster,
    /// None by its own wish: a name server tells its endpoints.
    Headless,
    /// None: it is another name of a host elsewhere.
    ExternalName,
}

/// A port of a Service, or that of its endpoints in a slice, which has the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// The name, empty where there is only one.
    pub name: Box<str>,
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// An EndpointSlice: some of the endpoints of one Service, of one family.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    /// The Service's name in the slice's namespace, by the label `kubernetes.io/service-name`; empty: nobody's.
    pub service: Box<str>,
    /// The ports of each endpoint.
    pub ports: Box<[Port]>,
    /// The endpoints; those of other kinds than addresses are left out.
    pub endpoints: Box<[Endpoint]>,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// The node that it runs on, where it is said.
    pub node: Option<Box<str>>,
    /// True if it takes new flows: it is well and stays, or its Service publishes all.
    pub is_ready: bool,
    /// True if it answers, whether it stays or not.
    pub is_serving: bool,
    /// True if it is about to end.
    pub is_terminating: bool,
    /// Zones whose clients should prefer it; empty without a hint.
    pub zones: Box<[Box<str>]>,
    /// Nodes whose clients should prefer it; empty without a hint.
    pub nodes: Box<[Box<str>]>,
}

/// The Services of a cluster with their slices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    services: BTreeMap<ServiceName, Arc<Service>>,
    /// The slices of a Service, known or not yet known, by their own names.
    slices: BTreeMap<ServiceName, BTreeMap<Box<str>, Arc<Slice>>>,
}

impl Model {
    /// Sets what is known of a Service; `None`: there is none of that name.
    pub fn set_service(&mut self, name: ServiceName, service: Option<Arc<Service>>) {
        match service {
            Some(service) => drop(self.services.insert(name, service)),
            None => drop(self.services.remove(&name)),
        }
    }

    /// Sets what is known of the slice `name` of a namespace, which said `before` until now. Returns the Services that
    /// it concerns: it may have gone over to another one.
    pub fn set_slice(
        &mut self,
        namespace: &str,
        name: &str,
        before: Option<&Slice>,
        now: Option<Arc<Slice>>,
    ) -> BTreeSet<ServiceName> {
        let owner = |slice: &Slice| ServiceName {
            namespace: namespace.to_owned(),
            name: slice.service.clone().into_string(),
        };
        let mut concerned = BTreeSet::new();
        if let Some(before) = before.map(owner)
            && let Some(slices) = self.slices.get_mut(&before)
        {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&before);
            }
            concerned.insert(before);
        }
        if let Some(slice) = now.filter(|slice| !slice.service.is_empty()) {
            let owner = owner(&slice);
            self.slices.entry(owner.clone()).or_default().insert(name.into(), slice);
            concerned.insert(owner);
        }
        concerned
    }

    /// The Service of that name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.get(name).map(Arc::as_ref)
    }

    /// The slices of the Service of that name, in the order of their own names.
    pub fn slices(&self, name: &ServiceName) -> impl Iterator<Item = &Slice> {
        self.slices.get(name).into_iter().flat_map(|slices| slices.values().map(Arc::as_ref))
    }

    /// The names of all Services, in order.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// The number of Services.
    #[must_use]
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Returns true if there is no Service.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}
