//! Addresses that nodes lend each other, with the manifest's objects on a real API server: no kubelet runs, so that no
//! pod's status shows an address unless a test writes it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use naru_core::policy::{
    lent::{Lending, Lent},
    model::{Cluster, Node},
};
use naru_kubernetes::{Access, Api, ApiError, KubernetesSource};
use serde_json::{Value, json};

use bed::{Bed, Followed, PATIENCE, node};

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const PODS: &str = "/api/v1/namespaces/default/pods";
const AGENTS: &str = "/api/v1/namespaces/kube-system/pods";
const LENT: &str = "/apis/naru.dev/v1alpha1/podaddresses";

fn pod(name: &str, node: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "nodeName": node,
            "serviceAccountName": account,
            "containers": [{ "name": "c", "image": "i" }],
        },
    })
}

fn remove_all(bed: &Bed, path: &str) {
    for item in bed.ask("GET", path, None).unwrap()["items"].as_array().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap();
        bed.ask("DELETE", &format!("{path}/{name}?gracePeriodSeconds=0"), None).unwrap();
    }
}

/// A control plane with nodes 1 and 2, the manifest's objects in force, one policy, and no pods.
fn bed() -> Bed {
    let bed = Bed::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("deploy/naru.yaml");
    bed.plane().run(&["apply", "-f", "-"], &fs::read_to_string(file).unwrap()).unwrap();
    let established = ["wait", "--for=condition=established", "crd/podaddresses.naru.dev", "--timeout=60s"];
    bed.plane().run(&established, "").unwrap();
    let since = Instant::now();
    while bed.ask("GET", LENT, None).is_err() {
        assert!(since.elapsed() < PATIENCE, "the kind of objects is not served");
        std::thread::sleep(Duration::from_millis(200));
    }
    let account = json!({ "metadata": { "name": "default" } });
    let _ = bed.ask("POST", "/api/v1/namespaces/default/serviceaccounts", Some(account));
    (1..=2).for_each(|number| drop(bed.create(&node(number))));
    [PODS, AGENTS, LENT, POLICIES].iter().for_each(|path| remove_all(&bed, path));
    let policy = json!({ "metadata": { "name": "p" }, "spec": { "podSelector": {} } });
    bed.ask("POST", POLICIES, Some(policy)).unwrap();
    // The administrator's token is no node's.
    let since = Instant::now();
    while let Ok(object) = bed.ask("POST", LENT, Some(lending("node001", &json!([])))) {
        assert!(since.elapsed() < PATIENCE, "the admission policy is not in force: {object}");
        bed.ask("DELETE", &format!("{LENT}/node001"), None).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    bed
}

fn lending(node: &str, pods: &Value) -> Value {
    json!({
        "apiVersion": "naru.dev/v1alpha1",
        "kind": "PodAddresses",
        "metadata": { "name": node },
        "pods": pods,
    })
}

/// A kubeconfig with the token that an agent of that node has.
fn credentials(bed: &Bed, node: &str) -> PathBuf {
    let agent = bed.ask("POST", AGENTS, Some(pod(&format!("naru-{node}"), node, "naru"))).unwrap();
    let bound = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "name": agent["metadata"]["name"],
        "uid": agent["metadata"]["uid"],
    });
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "boundObjectRef": bound },
    });
    let path = "/api/v1/namespaces/kube-system/serviceaccounts/naru/token";
    let answer = bed.ask("POST", path, Some(request)).unwrap();
    let file = bed.plane().kubeconfig(&format!("{node}.kubeconfig"), bed.relay.address()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let (before, _) = text.rsplit_once("token: ").unwrap();
    fs::write(&file, format!("{before}token: {}\n", answer["status"]["token"].as_str().unwrap())).unwrap();
    file
}

/// An agent's source with that agent's own rights.
fn follow(bed: &Bed, node: &str) -> Followed {
    let access = Access::Kubeconfig(credentials(bed, node));
    let memory = bed.path(&format!("{node}.json"));
    Followed::new(KubernetesSource { node: node.to_owned(), access, memory, ..bed.source() })
}

/// What the policies' thread of node 1 knows.
struct Reader<'a> {
    followed: &'a Followed,
    lent: Lent,
    cluster: Cluster,
}

impl<'a> Reader<'a> {
    fn new(followed: &'a Followed) -> Self {
        let blocks = |number: u8| Node { addresses: Vec::new(), blocks: node(number).blocks };
        let nodes = (1..=2).map(|number| (node(number).name, blocks(number))).collect::<BTreeMap<_, _>>();
        followed.contact.policies().change(|known| known.set_nodes(nodes));
        Self { followed, lent: Lent::new("node001"), cluster: Cluster::default() }
    }

    /// The addresses of a pod.
    fn addresses(&mut self, uid: &str) -> Option<Vec<IpAddr>> {
        if let Some(news) = self.followed.contact.policies().take() {
            let events = self.lent.take(news.events, news.lendings);
            events.into_iter().for_each(|event| drop(self.cluster.apply(event)));
        }
        self.cluster.pods.get(uid).map(|pod| pod.addresses.clone())
    }

    async fn wait(&mut self, what: &str, uid: &str, wanted: &[IpAddr]) {
        let since = Instant::now();
        while self.addresses(uid).as_deref() != Some(wanted) {
            assert!(since.elapsed() < PATIENCE, "{what}: {:?}", self.addresses(uid));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 32, 2, number])
}

fn one(uid: &str, number: u8) -> Lending {
    [(uid.to_owned(), BTreeSet::from([address(number)]))].into()
}

fn create(bed: &Bed, name: &str) -> String {
    let made = bed.ask("POST", PODS, Some(pod(name, "node002", "default"))).unwrap();
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn entries(bed: &Bed, what: &str, number: usize) {
    let since = Instant::now();
    loop {
        let object = bed.ask("GET", &format!("{LENT}/node002"), None);
        let there = object.ok().and_then(|object| Some(object["pods"].as_array()?.len()));
        if there == Some(number) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: {there:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn an_address_reaches_other_nodes_without_its_pods_status_and_stays_when_the_status_takes_over() {
    let bed = bed();
    let (here, there) = (follow(&bed, "node001"), follow(&bed, "node002"));
    let mut reader = Reader::new(&here);
    let uid = create(&bed, "a");
    reader.wait("a pod without an address", &uid, &[]).await;
    there.contact.policies().set_unsaid(one(&uid, 7));
    reader.wait("what its node lends", &uid, &[address(7)]).await;
    let object = bed.ask("GET", &format!("{LENT}/node002"), None).unwrap();
    assert_eq!(object["metadata"]["ownerReferences"][0]["kind"], "Node", "{object}");

    // An agent that starts again goes on from what is there.
    drop(there);
    remove_all(&bed, AGENTS);
    let there = follow(&bed, "node002");
    tokio::time::sleep(Duration::from_secs(3)).await;
    entries(&bed, "nothing changes before the node's pods are known", 1).await;
    let other = create(&bed, "b");
    let both = one(&uid, 7).into_iter().chain(one(&other, 8)).collect();
    there.contact.policies().set_unsaid(both);
    reader.wait("another pod", &other, &[address(8)]).await;

    let status = json!({ "status": { "podIP": "10.32.2.9", "podIPs": [{ "ip": "10.32.2.9" }] } });
    bed.ask("PATCH", &format!("{PODS}/a/status"), Some(status)).unwrap();
    reader.wait("the status", &uid, &[address(9)]).await;
    there.contact.policies().set_unsaid(Lending::new());
    entries(&bed, "an empty object", 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(reader.addresses(&other).unwrap(), [address(8)], "it stays until the status shows it");
    bed.ask("DELETE", &format!("{PODS}/b?gracePeriodSeconds=0"), None).unwrap();
    let since = Instant::now();
    while reader.addresses(&other).is_some() {
        assert!(since.elapsed() < PATIENCE, "a pod that is gone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn the_object_of_a_node_is_written_with_a_token_of_that_node_only() {
    let bed = bed();
    let agent = Api::of_kubeconfig(credentials(&bed, "node002"));
    let apply = async |node: &str| {
        let body = lending(node, &json!([{ "uid": "u", "addresses": ["10.32.2.1"] }])).to_string();
        let body = Some(("application/apply-patch+yaml", body.into_bytes()));
        agent.ask("PATCH", &format!("{LENT}/{node}?fieldManager=naru&force=true"), body).await
    };
    let refused = |answer: Result<Vec<u8>, ApiError>| match answer {
        Err(ApiError::Refused { code: 403, reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    apply("node002").await.unwrap();
    apply("node002").await.unwrap();
    let reason = refused(apply("node001").await);
    assert!(reason.contains("only a pod of the node of this name"), "{reason}");
    refused(agent.ask("DELETE", &format!("{LENT}/node002"), None).await);
    let unbound = bed.ask("POST", LENT, Some(lending("node001", &json!([])))).unwrap_err();
    assert!(matches!(unbound, ApiError::Refused { code: 403 | 422, .. }), "{unbound:?}");
}

/// Lends one pod more each time; returns the times after which the reader knew them, sorted.
async fn stream(
    there: &Followed,
    reader: &mut Reader<'_>,
    pods: &[(String, u8)],
    every: Duration,
) -> Vec<Duration> {
    let (since, mut lent, mut waits) = (Instant::now(), Lending::new(), Duration::ZERO);
    let (mut begun, mut took) = (BTreeMap::<&str, Instant>::new(), Vec::new());
    let mut next = pods.iter();
    while took.len() < pods.len() {
        assert!(since.elapsed() < PATIENCE, "{} of {}", took.len(), pods.len());
        if since.elapsed() >= waits
            && let Some((uid, number)) = next.next()
        {
            lent.extend(one(uid, *number));
            begun.insert(uid, Instant::now());
            there.contact.policies().set_unsaid(lent.clone());
            waits += every;
        }
        begun.retain(|uid, began| {
            let is_known = reader.addresses(uid).is_some_and(|all| !all.is_empty());
            is_known.then(|| took.push(began.elapsed()));
            !is_known
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort();
    took
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_hundred_new_pods_are_known_by_few_writes_and_none_is_lost_while_the_api_is_away() {
    let bed = bed();
    let (here, there) = (follow(&bed, "node001"), follow(&bed, "node002"));
    let mut reader = Reader::new(&here);
    let pods: Vec<(String, u8)> = (1..=200).map(|at| (create(&bed, &format!("web-{at}")), at)).collect();
    reader.wait("the pods", &pods[199].0, &[]).await;
    // More and fewer at a time than writes are allowed.
    for (pods, every) in [(&pods[..100], 60), (&pods[100..], 220)] {
        there.contact.policies().set_unsaid(one("nobody", 250));
        entries(&bed, "an object", 1).await;
        there.contact.policies().set_unsaid(Lending::new());
        entries(&bed, "an empty object", 0).await;
        bed.relay.requests();
        let since = Instant::now();
        let took = stream(&there, &mut reader, pods, Duration::from_millis(every)).await;
        let seconds = since.elapsed().as_secs_f64();
        let requests = bed.relay.requests();
        let writes = requests.iter().filter(|path| path.contains("podaddresses/")).count();
        println!(
            "a new pod each {every} ms, {writes} writes in {seconds:.1} s; known after {:?} (median), {:?} (p99), {:?}",
            took[49], took[98], took[99]
        );
        let allowed =
            (0..).map(|write| f64::from(write) / 5.0).take_while(|second| *second <= seconds).count();
        assert!(writes <= allowed + 1, "{writes} writes in {seconds} s");
    }

    bed.relay.close();
    there.contact.policies().set_unsaid(one(&pods[199].0, 250));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reader.addresses(&pods[199].0).unwrap(), [address(200)], "what was known last stays");
    bed.relay.open();
    reader.wait("the word after the outage", &pods[199].0, &[address(250)]).await;
}
