//! Services in files, followed as the agent does.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use naru_cluster::{
    Contact, Source, View,
    file::FileSource,
    services::{Mode, Register, Standing},
};
use naru_core::services::{Form, Protocol, ServiceName};
use tokio::{sync::watch, time::sleep};

const CLUSTER: &str = "ranges = [\"10.32.0.0/12\"]\nservice_files = \"services\"\n\
                       [[node]]\nname = \"n1\"\naddresses = [\"192.0.2.1\"]\nblocks = [\"10.32.0.0/24\"]\n";

const WEB: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  type: NodePort
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd96::1"]
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
ports:
- {name: http, port: 8080, protocol: TCP}
- {name: everything}
endpoints:
- addresses: [10.32.0.5]
  nodeName: n1
  conditions: {ready: true, serving: true, terminating: false}
  hints: {forZones: [{name: z1}], forNodes: [{name: n1}]}
- addresses: [10.32.0.6]
  conditions: {ready: false, serving: true, terminating: true}
- addresses: [10.32.0.7]
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
"#;

fn headless(name: &str) -> String {
    format!("kind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: None}}\n---\n")
}

/// A cluster file and a directory of Services, followed until it is dropped.
struct Bed {
    root: tempfile::TempDir,
    register: Register,
    views: watch::Receiver<View>,
}

impl Bed {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("services")).unwrap();
        let path = root.path().join("cluster.toml");
        let (sender, views) = watch::channel(View::default());
        let contact = Contact::default();
        let bed = Self { root, register: contact.services().clone(), views };
        files.iter().for_each(|(name, text)| bed.write(name, text));
        fs::write(&path, CLUSTER).unwrap();
        tokio::spawn(Box::new(FileSource { path }).follow(sender, contact));
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("services").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn names(&self) -> Vec<String> {
        self.register.read(|known| known.model().names().map(ToString::to_string).collect())
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..500 {
            if is_so(self) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let complaint = self.register.read(|known| known.complaint().map(str::to_owned));
        panic!("{what}: {:?}, {complaint:?}", self.names());
    }
}

fn web() -> ServiceName {
    ServiceName { namespace: "default".into(), name: "web".into() }
}

#[tokio::test]
async fn objects_of_kubernetes_are_read_with_the_apis_defaults() {
    let bed = Bed::new(&[("web.yaml", WEB), ("notes.txt", "not: [yaml"), (".web.yaml.swp", "x: [")]);
    bed.until("read", |bed| bed.register.read(|known| known.standing()) == Standing::Read).await;
    bed.register.read(|known| {
        let service = known.model().service(&web()).unwrap();
        let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.96.0.1", "fd96::1"]);
        let ports: Vec<_> =
            service.ports.iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
        assert_eq!(ports, [("http", 80, Protocol::Tcp), ("dns", 53, Protocol::Udp)]);
        assert_eq!((service.form, service.affinity, service.is_local), (Form::Cluster, Some(60), true));
        let slice = known.model().slices(&web()).next().unwrap();
        assert_eq!(slice.ports.len(), 1, "a port without a number is none");
        let [first, second, third] = &slice.endpoints[..] else { panic!("{slice:?}") };
        assert_eq!((first.node.as_deref(), &*first.zones[0], &*first.nodes[0]), (Some("n1"), "z1", "n1"));
        let conditions =
            |one: &naru_core::services::Endpoint| (one.is_ready, one.is_serving, one.is_terminating);
        assert_eq!(
            [first, second, third].map(conditions),
            [(true, true, false), (false, true, true), (true, true, false)]
        );
        assert_eq!((known.zone("n1"), known.mode()), ("z1", Mode::Auto));
        assert!(known.heard().is_some());
    });
}

#[tokio::test]
async fn changes_of_files_are_followed_and_an_error_changes_nothing() {
    let bed = Bed::new(&[("web.yaml", WEB), ("a.yaml", &headless("a"))]);
    bed.until("both", |bed| bed.names() == ["default/a", "default/web"]).await;
    bed.write("b.yml", &headless("b"));
    bed.until("one more", |bed| bed.names().len() == 3).await;
    fs::remove_file(bed.path("a.yaml")).unwrap();
    bed.until("one less", |bed| bed.names() == ["default/b", "default/web"]).await;
    for (text, complaint) in [
        ("kind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.96.0.300}\n", "is not an address"),
        (&*headless("b"), "Service default/b: it is there twice"),
        ("kind: Service\nmetadata: {name: a\n", "a.yaml"),
    ] {
        bed.write("a.yaml", text);
        let is_said =
            |bed: &Bed| bed.register.read(|known| known.complaint().is_some_and(|it| it.contains(complaint)));
        bed.until(complaint, is_said).await;
        assert_eq!(bed.names(), ["default/b", "default/web"]);
    }
    fs::remove_file(bed.path("a.yaml")).unwrap();
    bed.until("all is well", |bed| bed.register.read(|known| known.complaint().is_none())).await;
}

#[tokio::test]
async fn files_that_go_in_one_moment_are_missed_only_if_they_stay_away() {
    let services: String = ["a", "b", "c", "d"].map(headless).concat();
    let bed = Bed::new(&[("all.yaml", &services)]);
    bed.until("all", |bed| bed.names().len() == 4).await;
    bed.write("all.yaml", "");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(bed.names().len(), 4, "half written");
    bed.write("all.yaml", &services);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(bed.names().len(), 4);
    fs::remove_file(bed.path("all.yaml")).unwrap();
    bed.until("removed", |bed| bed.names().is_empty()).await;
}

#[tokio::test]
async fn a_directory_that_goes_takes_nothing_along_and_one_that_nobody_names_does() {
    let bed = Bed::new(&[("web.yaml", WEB)]);
    bed.until("read", |bed| bed.names() == ["default/web"]).await;
    let (directory, aside) = (bed.root.path().join("services"), bed.root.path().join("aside"));
    fs::rename(&directory, &aside).unwrap();
    bed.until("said", |bed| bed.register.read(|known| known.complaint().is_some())).await;
    assert_eq!(bed.names(), ["default/web"]);
    fs::rename(&aside, &directory).unwrap();
    bed.until("back", |bed| bed.register.read(|known| known.complaint().is_none())).await;
    assert!(bed.views.borrow().complaint.is_none());
    let cluster = CLUSTER.replace("service_files = \"services\"", "services = \"stack\"");
    fs::write(Path::new(bed.root.path()).join("cluster.toml"), cluster).unwrap();
    bed.until("gone", |bed| bed.register.read(|known| known.standing()) == Standing::Nowhere).await;
    assert_eq!((bed.names().len(), bed.register.read(|known| known.mode())), (0, Mode::Stack));
}
