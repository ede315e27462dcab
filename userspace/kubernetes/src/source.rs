use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use naru_cluster::{
    ClusterError, Contact, Following, Remark, Revision, Source, View,
    file::{self, ClusterSettings, Found},
};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};

use crate::{
    Access,
    agreement::{self, Agreement},
    api::{Api, ApiError, Places},
    condition,
    endpoints::{self, Servers},
    follow::{Follower, Known, Pace, Remembered, Snapshot},
    memory::{Memory, Own},
    nodes::{self, Node},
    policies,
    progress::Progress,
    ranges::{self, ServiceRange},
    services,
};

/// Ranges of Services and addresses of API servers change once in the life of a cluster: a lost event about them is
/// made up for within so many periods of the others' lists.
const RARELY: u32 = 6;
/// Pause before a failed write to the disk is repeated.
const RETRY: Duration = Duration::from_secs(5);

/// The Kubernetes API as a source of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KubernetesSource {
    /// This node's name.
    pub node: String,
    /// The credentials.
    pub access: Access,
    /// Addresses of the API by flag, before all others.
    pub servers: Vec<String>,
    /// The address of the Service `kubernetes`, by the environment of a pod.
    pub service: Option<String>,
    /// The file of the cluster's settings; if it is missing, all settings have their defaults.
    pub settings: PathBuf,
    /// Ranges of Service addresses by flag, which replace those of the API and of the settings.
    pub services: Vec<IpNet>,
    /// A file for what outlives the process.
    pub memory: PathBuf,
    /// The times by which the API is judged.
    pub pace: Pace,
}

impl Source for KubernetesSource {
    fn describe(&self) -> String {
        "the Kubernetes API".to_owned()
    }

    fn follow(self: Box<Self>, views: watch::Sender<View>, contact: Contact) -> Following {
        Box::pin(follow(*self, views, contact))
    }
}

/// The settings as their file says them.
#[derive(Clone, Default)]
struct Settings {
    /// The last valid settings; `None` before the first look.
    good: Option<ClusterSettings>,
    complaint: Option<ClusterError>,
}

/// Everything that is heard.
struct Ears {
    settings: watch::Receiver<Settings>,
    nodes: watch::Receiver<Snapshot<Node>>,
    services: watch::Receiver<Snapshot<ServiceRange>>,
    servers: watch::Receiver<Snapshot<Servers>>,
}

/// The registers and the progress of their watches, for the task that makes views.
struct Aside {
    contact: Contact,
    progress: Progress,
}

async fn follow(source: KubernetesSource, views: watch::Sender<View>, contact: Contact) {
    let memory = Memory::load(&source.memory);
    let places =
        Places::new(&source.node, source.servers.clone(), memory.servers.clone(), source.service.clone());
    let api = Arc::new(Api::new(source.access.clone(), places));
    let (to_settings, settings) = watch::channel(Settings::default());
    let (to_nodes, nodes) = watch::channel(Snapshot::default());
    let (to_services, services) = watch::channel(Snapshot::default());
    let (to_servers, servers) = watch::channel(Snapshot::default());
    let known = Known::new(memory.nodes.clone(), source.pace);
    let on_nodes = Follower::new(api.clone(), nodes::PATH, known, contact.clone(), to_nodes);
    let rare = Pace { resync: source.pace.resync * RARELY, ..source.pace };
    let known = Known::new(None, rare);
    let on_services = Follower::new(api.clone(), ranges::PATH, known, contact.clone(), to_services);
    let known = Known::new(None, rare);
    let on_servers = Follower::new(api.clone(), endpoints::PATH, known, contact.clone(), to_servers);
    let on_condition = condition::keep(api.clone(), source.node.clone(), nodes.clone(), contact.ready());
    let on_settings = follow_settings(source.settings.clone(), to_settings);
    let progress = Progress::new(memory.services);
    let on_objects = services::follow(api.clone(), source.pace, contact.clone(), progress.clone());
    let own = policies::Own { name: source.node.clone(), nodes: nodes.clone() };
    let on_policies = policies::follow(api.clone(), own, source.pace, contact.clone(), progress.clone());
    let aside = Aside { contact, progress };
    let ears = Ears { settings, nodes, services, servers };
    tokio::select! {
        () = agree(source, api, ears, memory, views, aside) => {}
        () = on_objects => {}
        () = on_policies => {}
        () = on_nodes.run() => {}
        () = on_services.run() => {}
        () = on_servers.run() => {}
        () = on_settings => {}
        () = async { on_condition.await; std::future::pending().await } => {}
    }
}

async fn follow_settings(path: PathBuf, to: watch::Sender<Settings>) {
    let tell = |found: Found<ClusterSettings>| {
        to.send_modify(|known| match found {
            Found::Same(_) => {}
            Found::Read(_, settings) => {
                *known = Settings { good: Some(settings), complaint: None };
            }
            // Nobody set anything. If there was a file before, its settings stay in force.
            Found::Nothing(None, _) if known.good.is_none() && path.try_exists().is_ok_and(|is| !is) => {
                *known = Settings { good: Some(ClusterSettings::default()), complaint: None };
            }
            Found::Nothing(None, _)
                if known.good.as_ref().is_some_and(|good| *good == ClusterSettings::default())
                    && path.try_exists().is_ok_and(|is| !is) =>
            {
                known.complaint = None;
            }
            Found::Nothing(_, error) => known.complaint = Some(error),
        });
    };
    file::follow(path.clone(), file::parse_settings, tell, to.closed()).await;
}

/// Makes views of the followed objects, until there is no receiver left.
async fn agree(
    source: KubernetesSource,
    api: Arc<Api>,
    mut ears: Ears,
    mut memory: Memory,
    views: watch::Sender<View>,
    aside: Aside,
) {
    let mut noted = Instant::now();
    loop {
        let servers = ears.servers.borrow_and_update().clone();
        if let Some(found) =
            servers.entries.map(|entries| endpoints::all(&entries)).filter(|all| !all.is_empty())
        {
            api.remember(found);
        }
        let settings = ears.settings.borrow_and_update().clone();
        settings.good.iter().for_each(|settings| api.configure(&settings.api_servers));
        let nodes = ears.nodes.borrow_and_update().clone();
        let services = ears.services.borrow_and_update().clone();
        let heard = Heard { source: &source, settings, nodes, services };
        heard.place(&aside.contact);
        let agreed = heard.agreed(&memory.own);
        let own = heard.own(&memory.own);
        views.send_if_modified(|view| heard.put(agreed, view));
        let is_due = noted.elapsed() >= services::NOTE;
        let positions = if is_due { aside.progress.positions() } else { memory.services };
        let nodes = heard.remembered(&memory);
        let next = Memory { servers: api.remembered(), nodes, own, services: positions };
        noted = if is_due { Instant::now() } else { noted };
        let mut is_kept = next == memory;
        if !is_kept {
            let (kept, file) = (next.clone(), source.memory.clone());
            // The memory only helps later; a full disk must not stop anything now.
            is_kept = tokio::task::spawn_blocking(move || kept.save(&file).is_ok()).await.unwrap_or(false);
            memory = if is_kept { next } else { Memory { own: next.own, ..memory } };
        }
        tokio::select! {
            () = views.closed() => return,
            Ok(()) = ears.settings.changed() => {}
            Ok(()) = ears.nodes.changed() => {}
            Ok(()) = ears.services.changed() => {}
            Ok(()) = ears.servers.changed() => {}
            () = sleep(RETRY), if !is_kept => {}
            () = sleep_until((noted + services::NOTE).into()) => {}
            else => return,
        }
    }
}

/// The state of everything that is followed, at one moment.
struct Heard<'a> {
    source: &'a KubernetesSource,
    settings: Settings,
    nodes: Snapshot<Node>,
    services: Snapshot<ServiceRange>,
}

impl Heard<'_> {
    fn agreed(&self, own: &Own) -> Option<Agreement> {
        let (settings, nodes) = (self.settings.good.as_ref()?, self.nodes.entries.as_ref()?);
        Some(agreement::agree(nodes, settings, &self.source.node, &own.addresses))
    }

    /// Tells who translates packets to Services, what becomes of policies, and the own node's zone.
    fn place(&self, contact: &Contact) {
        let entry = self.nodes.entries.as_ref().and_then(|entries| entries.get(&self.source.node));
        let node = entry.and_then(|entry| entry.value.as_ref());
        if let Some(settings) = &self.settings.good {
            contact.policies().change(|known| known.set_settings(settings.policies));
        }
        contact.services().change(|known| {
            self.settings.good.iter().for_each(|settings| known.set_mode(settings.services));
            // A node that is missed keeps the zone that it had.
            if let Some(node) = node {
                known.set_zones([(self.source.node.clone(), node.zone.clone())].into());
            }
        });
    }

    /// Makes `view` say what was heard; returns true if it said something else before.
    fn put(&self, agreed: Option<Agreement>, view: &mut View) -> bool {
        let mut next = View { complaint: self.complaint(), ..view.clone() };
        if let Some(Agreement { cluster, remarks }) = agreed {
            next.remarks = remarks;
            match cluster {
                Some(cluster) if next.cluster.as_deref() != Some(&cluster) => {
                    next.cluster = Some(Arc::new(cluster));
                    next.revision = Some(Revision::Number(self.nodes.revision));
                }
                Some(_) => {}
                None => next.complaint = next.complaint.or_else(|| Some(self.unknown())),
            }
        }
        next.contact_limit = self.settings.good.as_ref().and_then(|settings| settings.contact_limit);
        next.services = self.ranges();
        next.remarks.extend(self.services_remark());
        let is_news = *view != next;
        *view = next;
        is_news
    }

    fn complaint(&self) -> Option<ClusterError> {
        let of_api = |error: &ApiError| ClusterError::Unreachable {
            place: "the Kubernetes API".to_owned(),
            reason: error.to_string(),
        };
        self.settings.complaint.clone().or_else(|| self.nodes.failure.as_ref().map(of_api))
    }

    fn unknown(&self) -> ClusterError {
        ClusterError::Unreachable {
            place: format!("node {}", self.source.node),
            reason: "the API has no Node of this name with an address: is NARU_NODE right?".to_owned(),
        }
    }

    /// Ranges of Services: by flag, by the settings, by the API.
    fn ranges(&self) -> Option<Vec<IpNet>> {
        let set = self.settings.good.as_ref().map(|settings| settings.service_ranges.clone());
        let given =
            [Some(self.source.services.clone()), set].into_iter().flatten().find(|list| !list.is_empty());
        given.or_else(|| self.services.entries.as_ref().map(|entries| ranges::all(entries)))
    }

    /// If an API lacks these objects, or does not show them, only the ranges are unknown.
    fn services_remark(&self) -> Option<Remark> {
        let error = self.services.failure.as_ref().filter(|error| error.is_absent())?;
        self.ranges().is_none_or(|ranges| ranges.is_empty()).then(|| Remark {
            subject: "ranges of Services".to_owned(),
            reason: format!(
                "{error}: set service_ranges in the settings to have pod ranges checked against them"
            ),
        })
    }

    /// Returns the own node as it is known now, else as it was last known.
    fn own(&self, last: &Own) -> Own {
        let entry = self.nodes.entries.as_ref().and_then(|entries| entries.get(&self.source.node));
        let Some(entry) = entry else { return last.clone() };
        let addresses: &[IpAddr] = entry.value.as_ref().map_or(&[], |node| &node.addresses);
        let addresses = if addresses.is_empty() { last.addresses.clone() } else { addresses.to_vec() };
        Own { uid: entry.uid.clone(), addresses }
    }

    fn remembered(&self, memory: &Memory) -> Option<Remembered> {
        let Some(entries) = &self.nodes.entries else { return memory.nodes.clone() };
        Some(Remembered { revision: self.nodes.revision, names: entries.keys().cloned().collect() })
    }
}
