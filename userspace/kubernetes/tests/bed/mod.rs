//! A control plane for the tests of a file, a relay before it that injects faults, and a source behind the relay.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod relay;
pub mod wire;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use naru_cluster::{Contact, Source, View};
use naru_controlplane::{ControlPlane, Options};
use naru_core::cluster::NodeSpec;
use naru_kubernetes::{Access, Api, ApiError, KubernetesSource, Pace};
use serde_json::{Value, json};
use tokio::{
    sync::watch::{self, Receiver},
    task::JoinHandle,
    time::timeout,
};

use relay::Relay;

/// Time limit for events that must come, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Times that a test can wait for.
pub const PACE: Pace = Pace {
    silence: Duration::from_secs(150),
    resync: Duration::from_secs(600),
    lags: Duration::from_secs(3),
    settles: Duration::from_secs(6),
    again: Duration::from_millis(300),
};

/// Started by the first test, ended with the process.
static PLANE: Mutex<Option<ControlPlane>> = Mutex::new(None);

extern "C" fn end() {
    drop(PLANE.lock().unwrap_or_else(PoisonError::into_inner).take());
}

fn plane() -> MutexGuard<'static, Option<ControlPlane>> {
    let mut plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
    if plane.is_none() {
        // SAFETY: the handler unwinds nowhere, and locks what no thread holds any more when the process ends.
        unsafe { libc::atexit(end) };
        *plane = Some(ControlPlane::start(Options::default()).unwrap());
    }
    plane
}

/// The control plane of this test binary, for one test at a time, without any node.
pub struct Bed {
    plane: MutexGuard<'static, Option<ControlPlane>>,
    pub relay: Relay,
    pub directory: tempfile::TempDir,
}

impl Bed {
    /// With a relay that is open.
    pub fn new() -> Self {
        let bed = Self::closed();
        bed.relay.open();
        bed
    }

    /// With a relay that takes no connection yet.
    pub fn closed() -> Self {
        let guard = plane();
        let plane = guard.as_ref().unwrap();
        let names = ["kubernetes.default.svc", "localhost", "127.0.0.1"];
        let certificate = plane.authority().server(&names).unwrap();
        let relay = Relay::new(plane.servers()[0].address(), &plane.authority().pem(), certificate);
        let bed = Self { plane: guard, relay, directory: tempfile::tempdir().unwrap() };
        let all = bed.names();
        bed.delete(&all);
        bed
    }

    pub fn plane(&self) -> &ControlPlane {
        self.plane.as_ref().unwrap()
    }

    pub fn plane_mut(&mut self) -> &mut ControlPlane {
        self.plane.as_mut().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The API without the relay.
    pub fn api(&self) -> Api {
        let file = self.plane().kubeconfig("direct.kubeconfig", self.plane().servers()[0].address()).unwrap();
        Api::of_kubeconfig(file)
    }

    /// A request without the relay; a JSON answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, ApiError> {
        let api = self.api();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = body.map(|body| (kind, body.to_string().into_bytes()));
        // Callers may be in a runtime already.
        let answer = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    // On a busy machine a handshake takes its time.
                    loop {
                        match api.ask(method, path, body.clone()).await {
                            Err(ApiError::Connection { reason, .. }) if reason.contains("no TLS") => {}
                            answer => return answer,
                        }
                    }
                })
            });
            asking.join().unwrap()
        });
        Ok(serde_json::from_slice(&answer?).unwrap())
    }

    pub fn names(&self) -> Vec<String> {
        let list = self.ask("GET", "/api/v1/nodes", None).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn delete(&self, names: &[String]) {
        for name in names {
            self.ask("DELETE", &format!("/api/v1/nodes/{name}"), None).unwrap();
        }
    }

    /// Makes a Node object of the node.
    pub fn create(&self, node: &NodeSpec) -> Value {
        self.ask("POST", "/api/v1/nodes", Some(object(node))).unwrap()
    }

    /// Merges `patch` into a Node object.
    pub fn patch(&self, name: &str, patch: Value) {
        self.ask("PATCH", &format!("/api/v1/nodes/{name}"), Some(patch)).unwrap();
    }

    /// A source for node001 behind the relay.
    pub fn source(&self) -> KubernetesSource {
        let file = self.plane().kubeconfig(&self.relay_file(), self.relay.address()).unwrap();
        KubernetesSource {
            node: "node001".into(),
            access: Access::Kubeconfig(file),
            servers: Vec::new(),
            service: None,
            settings: self.path("settings.toml"),
            services: Vec::new(),
            memory: self.path("kubernetes.json"),
            pace: PACE,
        }
    }

    fn relay_file(&self) -> String {
        format!("relay-{}.kubeconfig", self.relay.address().port())
    }

    /// A source at work; needs a runtime.
    pub fn follow(&self) -> Followed {
        Followed::new(self.source())
    }
}

/// A Node object.
pub fn object(node: &NodeSpec) -> Value {
    let internal = |address: &std::net::IpAddr| json!({ "type": "InternalIP", "address": address });
    let mut object = json!({
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": { "name": node.name },
        "spec": {},
        "status": { "addresses": node.addresses.iter().map(internal).collect::<Vec<_>>() },
    });
    if let Some(first) = node.blocks.first() {
        object["spec"] = json!({ "podCIDR": first, "podCIDRs": node.blocks });
    }
    object
}

/// Node `number`, with block 10.32.number.0/24.
pub fn node(number: u8) -> NodeSpec {
    naru_cluster::conformance::cluster(number).nodes.pop().unwrap()
}

/// A source at work.
pub struct Followed {
    pub views: Receiver<View>,
    pub contact: Contact,
    work: JoinHandle<()>,
}

impl Followed {
    pub fn new(source: KubernetesSource) -> Self {
        let (sender, views) = watch::channel(View::default());
        let contact = Contact::default();
        let work = tokio::spawn(Box::new(source).follow(sender, contact.clone()));
        Self { views, contact, work }
    }

    /// Waits until `is_it` holds for a view.
    pub async fn wait(&mut self, what: &str, is_it: impl Fn(&View) -> bool) -> View {
        self.within(PATIENCE, what, is_it).await
    }

    pub async fn within(&mut self, limit: Duration, what: &str, is_it: impl Fn(&View) -> bool) -> View {
        let found = timeout(limit, self.views.wait_for(is_it)).await;
        let found = found.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| {
            panic!("{what}: not within {limit:?}; the view is {:?}", *self.views.borrow())
        })
    }

    /// Waits for a cluster of exactly these nodes.
    pub async fn nodes(&mut self, numbers: &[u8]) -> View {
        let wanted: Vec<String> = numbers.iter().map(|number| format!("node{number:03}")).collect();
        self.wait(&format!("the nodes {numbers:?}"), |view| names(view) == wanted && view.complaint.is_none())
            .await
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Names of the nodes in the view's cluster.
pub fn names(view: &View) -> Vec<String> {
    view.cluster.iter().flat_map(|cluster| &cluster.nodes).map(|node| node.name.clone()).collect()
}
