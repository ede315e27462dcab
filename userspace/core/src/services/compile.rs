//! From Services and EndpointSlices to the table of one node, by the rules of kube-proxy (Kubernetes 1.37): whatever
//! a client meets here, it must not be told from what the stack would do with the same packet.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Backend, Endpoint, Form, Frontend, Model, Port, Reason, Service, ServiceName, Slice, Table, Translation,
};

/// The node that a table is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// The node's zone, by its label `topology.kubernetes.io/zone`; empty: none.
    pub zone: String,
    /// The node's own addresses, whatever they are bound for.
    pub own: BTreeSet<IpAddr>,
    /// True if an administrator leaves all Services to the stack.
    pub is_off: bool,
}

/// The compiled table and what it was made of, so that a change costs only what it concerns.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    place: Place,
    table: Table,
    /// The frontends of each Service.
    claims: BTreeMap<ServiceName, Vec<Frontend>>,
    /// The Services of each frontend that several of them have.
    disputed: BTreeMap<Frontend, BTreeSet<ServiceName>>,
}

/// The table of a whole cluster.
#[must_use]
pub fn compile(model: &Model, place: Place) -> Table {
    let mut compiler = Compiler::new(place);
    compiler.renew(model, model.names());
    compiler.table
}

impl Compiler {
    /// An empty table for that node.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, ..Self::default() }
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The node that it is for.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Compiles these Services anew, whether they are there or gone.
    pub fn renew<'a>(&mut self, model: &Model, names: impl IntoIterator<Item = &'a ServiceName>) {
        for name in names {
            self.table.left.remove(name);
            for frontend in self.claims.remove(name).unwrap_or_default() {
                self.release(model, name, frontend);
            }
            match translations(model, name, &self.place) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    self.claims.insert(name.clone(), found.keys().copied().collect());
                    found.into_iter().for_each(|(frontend, translation)| self.claim(frontend, translation));
                }
                Err(reason) => drop(self.table.left.insert(name.clone(), reason)),
            }
        }
    }

    fn release(&mut self, model: &Model, name: &ServiceName, frontend: Frontend) {
        self.table.frontends.remove(&frontend);
        let Some(mut others) = self.disputed.remove(&frontend) else { return };
        others.remove(name);
        let Some(first) = others.pop_first() else { return };
        if others.is_empty() {
            let found = translations(model, &first, &self.place).unwrap_or_default().remove(&frontend);
            self.table.frontends.extend(found.map(|translation| (frontend, translation)));
        } else {
            others.insert(first);
            self.dispute(frontend, others);
        }
    }

    fn claim(&mut self, frontend: Frontend, translation: Translation) {
        let Some(holder) = self.table.frontends.get(&frontend) else {
            self.table.frontends.insert(frontend, translation);
            return;
        };
        let mut claimants = self.disputed.remove(&frontend).unwrap_or_default();
        claimants.extend([holder.service.clone(), translation.service]);
        self.dispute(frontend, claimants);
    }

    /// Leaves a frontend to the stack, because nobody can say whose it is.
    fn dispute(&mut self, frontend: Frontend, claimants: BTreeSet<ServiceName>) {
        let mut names = claimants.iter().cloned();
        let (Some(service), Some(other)) = (names.next(), names.next()) else { return };
        let translation =
            Translation { service, stack: Some(Reason::Disputed(other)), ..Translation::default() };
        self.table.frontends.insert(frontend, translation);
        self.disputed.insert(frontend, claimants);
    }
}

/// Returns the translation of each frontend of a Service; empty if no Service has that name.
///
/// # Errors
/// The reason for which it has no frontend.
fn translations(
    model: &Model,
    name: &ServiceName,
    place: &Place,
) -> Result<BTreeMap<Frontend, Translation>, Reason> {
    let Some(service) = model.service(name) else { return Ok(BTreeMap::new()) };
    if let Some(reason) = left(service) {
        return Err(reason);
    }
    let mut found = BTreeMap::new();
    for port in &service.ports {
        for address in &service.addresses {
            let behind = endpoints(model.slices(name), port, address.is_ipv4());
            let frontend = Frontend { address: *address, port: port.port, protocol: port.protocol };
            let choice = choose(&behind, service, place);
            let stack = match () {
                () if place.is_off => Some(Reason::SwitchedOff),
                () if place.own.contains(address) => Some(Reason::OwnAddress),
                () => choice.reason,
            };
            let is_served = |backend: &Backend| stack.is_none() && choice.chosen.contains(backend);
            let serving =
                behind.iter().filter(|(_, endpoint)| endpoint.is_serving).map(|(backend, _)| *backend);
            let translation = Translation {
                service: name.clone(),
                port_name: port.name.clone().into_string(),
                kept: serving.filter(|backend| !is_served(backend)).collect(),
                chosen: if stack.is_none() { choice.chosen } else { Vec::new() },
                affinity: service.affinity,
                stack,
            };
            found.insert(frontend, translation);
        }
    }
    Ok(found)
}

/// The reason for which a Service has no frontend.
fn left(service: &Service) -> Option<Reason> {
    match service.form {
        _ if service.proxy.is_some() => {
            service.proxy.as_deref().map(|name| Reason::OtherProxy(name.to_owned()))
        }
        Form::Headless => Some(Reason::Headless),
        Form::ExternalName => Some(Reason::ExternalName),
        Form::Cluster if service.addresses.is_empty() => Some(Reason::NoAddress),
        Form::Cluster if service.ports.is_empty() => Some(Reason::NoPorts),
        Form::Cluster => None,
    }
}

/// The endpoints of one port in one family, each address and port once. Of two pods with one address, one of which is
/// about to end while the other has its address already, the other counts.
fn endpoints<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    port: &Port,
    is_ipv4: bool,
) -> BTreeMap<Backend, &'a Endpoint> {
    let mut found = BTreeMap::new();
    for slice in slices {
        let named = |own: &&Port| own.name == port.name && own.protocol == port.protocol;
        for own in slice.ports.iter().filter(named) {
            for endpoint in slice.endpoints.iter().filter(|one| one.address.is_ipv4() == is_ipv4) {
                let backend = Backend { address: endpoint.address, port: own.port };
                if !endpoint.is_terminating {
                    found.insert(backend, endpoint);
                } else {
                    found.entry(backend).or_insert(endpoint);
                }
            }
        }
    }
    found
}

/// The backends of new flows, in order, or the reason why there are none.
struct Choice {
    chosen: Vec<Backend>,
    reason: Option<Reason>,
}

fn choose(behind: &BTreeMap<Backend, &Endpoint>, service: &Service, place: &Place) -> Choice {
    let is_here = |endpoint: &Endpoint| endpoint.node.as_deref() == Some(place.node.as_str());
    let hint = if service.is_local { Hint::None } else { Hint::of(behind.values().copied(), place) };
    let is_allowed = |endpoint: &Endpoint| !service.is_local || is_here(endpoint);
    let those = |is_wanted: &dyn Fn(&Endpoint) -> bool| -> Vec<Backend> {
        let wanted = behind.iter().filter(|(_, endpoint)| is_allowed(endpoint) && is_wanted(endpoint));
        wanted.map(|(backend, _)| *backend).collect()
    };
    let mut chosen = those(&|endpoint| endpoint.is_ready && hint.allows(endpoint, place));
    if chosen.is_empty() {
        chosen = those(&is_last_resort);
    }
    let is_usable = |endpoint: &Endpoint| endpoint.is_ready || is_last_resort(endpoint);
    let is_somewhere = behind.values().copied().any(is_usable);
    let reason = match chosen.is_empty() {
        false => None,
        true if is_somewhere => Some(Reason::NoLocalEndpoints),
        true => Some(Reason::NoEndpoints),
    };
    Choice { chosen, reason }
}

/// Returns true if an endpoint takes new flows where none is ready.
const fn is_last_resort(endpoint: &Endpoint) -> bool {
    endpoint.is_serving && endpoint.is_terminating
}

/// The hints that count: only if every ready endpoint has one of that kind, and one of them is meant for this node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hint {
    None,
    Node,
    Zone,
}

impl Hint {
    fn of<'a>(endpoints: impl Iterator<Item = &'a Endpoint>, place: &Place) -> Self {
        let ready: Vec<&Endpoint> = endpoints.filter(|endpoint| endpoint.is_ready).collect();
        let counts = |hint: Self| {
            ready.iter().all(|endpoint| hint.is_given(endpoint))
                && ready.iter().any(|endpoint| hint.allows(endpoint, place))
        };
        [Self::Node, Self::Zone].into_iter().find(|hint| counts(*hint)).unwrap_or(Self::None)
    }

    fn is_given(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::None => true,
            Self::Node => !endpoint.nodes.is_empty(),
            Self::Zone => !endpoint.zones.is_empty(),
        }
    }

    fn allows(self, endpoint: &Endpoint, place: &Place) -> bool {
        let has = |names: &[Box<str>], name: &str| names.iter().any(|one| **one == *name);
        match self {
            Self::None => true,
            Self::Node => has(&endpoint.nodes, &place.node),
            Self::Zone => has(&endpoint.zones, &place.zone),
        }
    }
}
